//! The chart, without helm: what it gives our programs is what they understand, and every value is explained. The renders
//! are those of `helm/orchestrator/tests/golden`, which `.ci/kubernetes` holds against the real helm.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use orch_tests::binaries;
use serde_json::Value;

const SETS: [&str; 4] = ["minimal", "gpu", "secured", "everything"];

fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../helm/orchestrator")
}

/// The objects of a rendered value set.
fn rendered(set: &str) -> Vec<Value> {
    let text = fs::read_to_string(chart().join("tests/golden").join(format!("{set}.yaml"))).unwrap();
    let parts = text.split("\n---\n").filter(|part| part.contains("kind:"));
    parts.map(|part| serde_saphyr::from_str(part).unwrap()).collect()
}

/// Everything in a tree that has this key, with what stands under it.
fn under<'v>(value: &'v Value, key: &str, found: &mut Vec<&'v Value>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get(key));
            map.values().for_each(|value| under(value, key, found));
        }
        Value::Array(items) => items.iter().for_each(|value| under(value, key, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn words(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}

/// Has a real program look at a command line of the chart, whose files are in `etc`.
fn looked_at(program: &str, args: &[String], etc: &Path) -> Output {
    let args = args.iter().map(|word| word.replace("/etc/orch", etc.to_str().unwrap()));
    let mut command = Command::new(binaries::path(program));
    command.env_clear();
    match program {
        // As every pod is told where the API server is.
        "orchestrator" => command
            .args(args)
            .arg("--print-config")
            .env("KUBERNETES_SERVICE_HOST", "10.0.0.1")
            .env("KUBERNETES_SERVICE_PORT", "443"),
        "worker" => command.args(["config", "check"]).args(args),
        // Flags before it are read first, and a wrong one is an error.
        "orchctl" => command.args(args).arg("--help"),
        other => panic!("the chart starts {other}, which is none of our programs"),
    };
    command.output().unwrap()
}

#[test]
fn our_programs_understand_what_the_chart_gives_them() {
    let mut seen = BTreeMap::new();
    for set in SETS {
        let objects = rendered(set);
        let configs: BTreeMap<&str, &Value> = objects
            .iter()
            .filter(|object| object["kind"] == "ConfigMap")
            .map(|object| (object["metadata"]["name"].as_str().unwrap(), &object["data"]))
            .collect();
        for object in &objects {
            let (mut containers, mut volumes) = (Vec::new(), Vec::new());
            under(object, "containers", &mut containers);
            under(object, "volumes", &mut volumes);
            let Some(container) = containers.first().map(|containers| &containers[0]) else { continue };
            let etc = tempfile::tempdir().unwrap();
            for folder in ["config", "token", "tls", "ca"] {
                fs::create_dir(etc.path().join(folder)).unwrap();
            }
            fs::write(etc.path().join("token/token"), format!("orch_{}\n", "a".repeat(48))).unwrap();
            let mounted = volumes[0].as_array().unwrap().iter().find(|volume| volume["name"] == "config");
            if let Some(volume) = mounted {
                for (file, text) in configs[volume["configMap"]["name"].as_str().unwrap()].as_object().unwrap() {
                    let text = text.as_str().unwrap().replace("/etc/orch", etc.path().to_str().unwrap());
                    fs::write(etc.path().join("config").join(file), text).unwrap();
                }
            }
            let (program, args) = (words(&container["command"]).remove(0), words(&container["args"]));
            let output = looked_at(&program, &args, etc.path());
            let said = [output.stdout.as_slice(), &output.stderr].map(String::from_utf8_lossy).concat();
            assert!(output.status.success(), "{set}: {program} {args:?}: {said}");
            *seen.entry(program.clone()).or_insert(0) += 1;
            // That it was looked at, and not only started.
            let wrong = looked_at(&program, &[args, vec!["--no-such-flag".to_owned()]].concat(), etc.path());
            assert!(!wrong.status.success(), "{program} took a flag that it does not have");
        }
    }
    let programs: Vec<(&str, i32)> = seen.iter().map(|(program, count)| (program.as_str(), *count)).collect();
    // One orchestrator and one test each, one backup, and the pools.
    assert_eq!(programs, [("orchctl", 5), ("orchestrator", 4), ("worker", 7)]);
}

/// Nobody is root, and nothing can be written or won that need not be.
#[test]
fn every_pod_is_hardened() {
    for set in SETS {
        for object in rendered(set) {
            let mut pods = Vec::new();
            under(&object, "containers", &mut pods);
            for containers in pods {
                let mut inside = Vec::new();
                under(&object, "securityContext", &mut inside);
                assert!(inside.iter().any(|context| context["runAsNonRoot"] == true), "{set}");
                for container in containers.as_array().unwrap() {
                    let security = &container["securityContext"];
                    assert_eq!(security["allowPrivilegeEscalation"], false, "{set}");
                    assert_eq!(security["capabilities"]["drop"], serde_json::json!(["ALL"]), "{set}");
                    let open = set == "everything" && container["name"] == "worker";
                    assert!(open || security["readOnlyRootFilesystem"] == true, "{set}");
                }
                let mut tokens = Vec::new();
                under(&object, "automountServiceAccountToken", &mut tokens);
                // But for the orchestrator where it asks whose the tokens of pods are.
                let asks = set == "everything" && object["kind"] == "StatefulSet";
                assert_eq!(tokens, [asks], "{set}");
            }
        }
    }
}

/// What a running job gets, and the pod half a minute more.
#[test]
fn a_worker_gets_the_time_to_drain() {
    for set in SETS {
        let objects = rendered(set);
        for object in objects.iter().filter(|object| object["kind"] == "Deployment") {
            let name = &object["metadata"]["name"];
            let config =
                objects.iter().find(|other| other["kind"] == "ConfigMap" && other["metadata"]["name"] == *name);
            let config: Value =
                serde_saphyr::from_str(config.unwrap()["data"]["worker.yaml"].as_str().unwrap()).unwrap();
            let grace: u64 = config["grace"].as_str().unwrap().trim_end_matches('s').parse().unwrap();
            assert_eq!(object["spec"]["template"]["spec"]["terminationGracePeriodSeconds"], grace + 30, "{set} {name}");
        }
    }
}

/// The rows of the README's table, made of the comments of `values.yaml`: key, default, comment.
fn explained() -> Vec<(String, Value, String)> {
    let text = fs::read_to_string(chart().join("values.yaml")).unwrap();
    let values: Value = serde_saphyr::from_str(&text).unwrap();
    let mut rows: Vec<(String, Value, String)> = Vec::new();
    let (mut path, mut comment): (Vec<&str>, Vec<&str>) = Default::default();
    for line in text.lines() {
        let trimmed = line.trim_start();
        if let Some(words) = trimmed.strip_prefix('#') {
            comment.push(words.trim());
            continue;
        }
        let said = std::mem::take(&mut comment).join(" ");
        let Some((key, rest)) = trimmed.split_once(':').filter(|(key, _)| key.chars().all(char::is_alphanumeric))
        else {
            continue;
        };
        path.truncate((line.len() - trimmed.len()) / 2);
        path.push(key);
        let name = path.join(".");
        if rows.iter().any(|(known, _, _)| name.starts_with(&format!("{known}."))) {
            continue;
        }
        let value = path.iter().fold(&values, |value, key| &value[*key]);
        let opens = rest.is_empty() && value.is_object();
        // A block is one value if it is of Kubernetes, and a group of values otherwise.
        if !opens || ["peer", "resources"].contains(&key) {
            rows.push((name, value.clone(), said));
        }
    }
    rows
}

#[test]
fn every_value_is_explained_and_the_table_says_the_same() {
    let readme = fs::read_to_string(chart().join("README.md")).unwrap();
    let table: Vec<&str> = readme.lines().filter(|line| line.starts_with("| `")).collect();
    let explained = explained();
    assert!(explained.len() > 100, "{}", explained.len());
    for (row, (name, value, comment)) in table.iter().zip(&explained) {
        assert!(!comment.is_empty(), "{name} is not explained in values.yaml");
        let mut cells = row.splitn(3, " | ");
        assert_eq!(cells.next().unwrap(), format!("| `{name}`"));
        let default: Value = serde_json::from_str(cells.next().unwrap().trim_matches('`')).unwrap();
        assert_eq!(default, *value, "{name}");
        assert_eq!(cells.next().unwrap(), format!("{} |", comment.replace('|', "/")), "{name}");
    }
    assert_eq!(table.len(), explained.len());
}

#[test]
fn the_schema_knows_every_key_and_no_other() {
    let schema: Value = serde_json::from_str(&fs::read_to_string(chart().join("values.schema.json")).unwrap()).unwrap();
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    fn closed(value: &Value, at: &str) {
        if let Some(map) = value.as_object() {
            // Kinds of jobs have more keys than `runner`: the worker checks those.
            if map.get("properties").is_some_and(Value::is_object) && map.get("type") == Some(&"object".into()) {
                let open = at.ends_with("kinds/additionalProperties");
                assert!(open || map.get("additionalProperties") == Some(&false.into()), "{at} takes any key");
            }
            map.iter().for_each(|(key, value)| closed(value, &format!("{at}/{key}")));
        }
    }
    closed(&schema, "");
    for (name, _, _) in explained() {
        let mut at = &schema;
        for key in name.split('.') {
            if let Some(to) = at["$ref"].as_str() {
                at = &schema["definitions"][to.trim_start_matches("#/definitions/")];
            }
            at = &at["properties"][key];
            assert!(!at.is_null(), "{name} is not in the schema");
        }
    }
}
