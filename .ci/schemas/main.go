// Makes JSON Schemas that are strict (a field that there is not is a fault) of what Kubernetes publishes as OpenAPI and what
// operators bring as CustomResourceDefinitions, as GROUP-VERSION-kind.json for kubeconform.
//
//	schemas OUT OPENAPI-FOLDER MODULE-FOLDER...
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

type object = map[string]any

func main() {
	if err := run(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(out, api string, modules []string) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(api, "*__v*_openapi.json"))
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := kinds(out, file); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	made := 0
	for _, module := range modules {
		count, err := definitions(out, module)
		if err != nil {
			return fmt.Errorf("%s: %w", module, err)
		}
		made += count
	}
	if len(files) == 0 || made == 0 {
		return fmt.Errorf("%d files of Kubernetes and %d definitions of operators were found", len(files), made)
	}
	return nil
}

// One schema for each kind of an API version, with all that it refers to.
func kinds(out, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	text = bytes.ReplaceAll(text, []byte("#/components/schemas/"), []byte("#/definitions/"))
	var document struct {
		Components struct{ Schemas map[string]object }
	}
	if err := json.Unmarshal(text, &document); err != nil {
		return err
	}
	all := document.Components.Schemas
	for _, schema := range all {
		strict(schema)
	}
	for name, schema := range all {
		of, _ := schema["x-kubernetes-group-version-kind"].([]any)
		if len(of) != 1 {
			continue
		}
		gvk := of[0].(object)
		group, version, kind := gvk["group"].(string), gvk["version"].(string), gvk["kind"].(string)
		if group == "" {
			group = version
		}
		used := object{}
		collect(name, all, used)
		if err := write(out, group, version, kind, object{"$ref": "#/definitions/" + name, "definitions": used}); err != nil {
			return err
		}
	}
	return nil
}

// Everything that a schema refers to, itself included.
func collect(name string, all map[string]object, used object) {
	if _, known := used[name]; known {
		return
	}
	used[name] = all[name]
	walk(all[name], func(node object) {
		if to, is := node["$ref"].(string); is {
			collect(strings.TrimPrefix(to, "#/definitions/"), all, used)
		}
	})
}

func walk(value any, look func(object)) {
	switch value := value.(type) {
	case object:
		look(value)
		for _, inner := range value {
			walk(inner, look)
		}
	case []any:
		for _, inner := range value {
			walk(inner, look)
		}
	}
}

// What an object does not list it does not have.
func strict(schema object) {
	walk(schema, func(node object) {
		_, lists := node["properties"].(object)
		_, says := node["additionalProperties"]
		open, _ := node["x-kubernetes-preserve-unknown-fields"].(bool)
		if lists && !says && !open && node["type"] == "object" {
			node["additionalProperties"] = false
		}
	})
}

// The definitions in a module's files, as a user of it installs them.
func definitions(out, module string) (int, error) {
	made := 0
	err := filepath.WalkDir(module, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".yaml") || !strings.Contains(path, "crd") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, part := range bytes.Split(text, []byte("\n---")) {
			var crd struct {
				Kind string
				Spec struct {
					Group    string
					Names    struct{ Kind string }
					Versions []struct {
						Name   string
						Schema struct{ OpenAPIV3Schema object }
					}
				}
			}
			// Templates and other files that are no YAML lie about, too.
			if yaml.Unmarshal(part, &crd) != nil || crd.Kind != "CustomResourceDefinition" {
				continue
			}
			for _, version := range crd.Spec.Versions {
				schema := version.Schema.OpenAPIV3Schema
				strict(schema)
				properties, _ := schema["properties"].(object)
				if properties == nil {
					continue
				}
				// What every object has.
				properties["apiVersion"], properties["kind"] = object{"type": "string"}, object{"type": "string"}
				properties["metadata"] = object{"type": "object"}
				if err := write(out, crd.Spec.Group, version.Name, crd.Spec.Names.Kind, schema); err != nil {
					return err
				}
				made++
			}
		}
		return nil
	})
	return made, err
}

func write(out, group, version, kind string, schema object) error {
	text, err := json.Marshal(schema)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%s-%s-%s.json", group, version, strings.ToLower(kind))
	return os.WriteFile(filepath.Join(out, name), text, 0o644)
}
