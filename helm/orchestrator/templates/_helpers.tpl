{{/* Names, labels and the parts that several objects share. */}}

{{- define "orch.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What a Service and a policy find pods by. Never changed by an upgrade. Context: {root, component}. */}}
{{- define "orch.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Labels of pods: nothing that an upgrade changes by itself, or it would restart every worker. */}}
{{- define "orch.podLabels" -}}
{{ include "orch.selector" . }}
app.kubernetes.io/part-of: orch
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "orch.labels" -}}
{{ include "orch.podLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Context: {root, image}. */}}
{{- define "orch.image" -}}
{{- if .image.digest -}}
{{- printf "%s@%s" .image.repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" .image.repository (default .root.Chart.AppVersion .image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "orch.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "orch.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "orch.workerServiceAccount" -}}
{{- if .Values.auth.serviceAccounts.enabled -}}
{{- include "orch.fullname" . }}-worker
{{- else -}}
{{- include "orch.serviceAccount" . -}}
{{- end -}}
{{- end -}}

{{- define "orch.tls" -}}{{ ne .Values.tls.mode "none" }}{{- end -}}

{{- define "orch.tlsSecret" -}}
{{- if eq .Values.tls.mode "secret" -}}{{ .Values.tls.secret.name }}{{- else -}}{{ include "orch.fullname" . }}-tls{{- end -}}
{{- end -}}

{{- define "orch.host" -}}{{ include "orch.fullname" . }}.{{ .Release.Namespace }}.svc{{- end -}}

{{- define "orch.url" -}}
{{ ternary "https" "http" (eq (include "orch.tls" .) "true") }}://{{ include "orch.host" . }}:{{ .Values.service.port }}
{{- end -}}

{{- define "orch.bootstrapSecret" -}}
{{- default (printf "%s-bootstrap-token" (include "orch.fullname" .)) .Values.auth.bootstrapToken.existingSecret -}}
{{- end -}}
{{- define "orch.workerSecret" -}}
{{- default (printf "%s-worker-token" (include "orch.fullname" .)) .Values.auth.workerToken.existingSecret -}}
{{- end -}}
{{- define "orch.viewerSecret" -}}
{{- default (printf "%s-viewer-token" (include "orch.fullname" .)) .Values.auth.viewerToken.existingSecret -}}
{{- end -}}
{{- define "orch.kedaSecret" -}}
{{- default (printf "%s-keda-tls" (include "orch.fullname" .)) .Values.keda.certificateSecret -}}
{{- end -}}

{{/* A pool with what the defaults say: a YAML text. Context: {root, pool}. */}}
{{- define "orch.pool" -}}
{{- mustMergeOverwrite (deepCopy .root.Values.workerPoolDefaults) (deepCopy (default dict .pool)) | toYaml -}}
{{- end -}}

{{/* Whether any pool is scaled by KEDA. */}}
{{- define "orch.anyKeda" -}}
{{- $any := false -}}
{{- range $name, $pool := .Values.workerPools -}}
{{- $pool := include "orch.pool" (dict "root" $ "pool" $pool) | fromYaml -}}
{{- if $pool.keda.enabled -}}{{- $any = true -}}{{- end -}}
{{- end -}}
{{- $any -}}
{{- end -}}

{{/* Nobody is root, nothing can become it. */}}
{{- define "orch.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "orch.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
privileged: false
capabilities: {drop: [ALL]}
{{- end -}}

{{/* How a client finds the orchestrator and trusts it, as flags of orchctl. Context: root. */}}
{{- define "orch.clientArgs" -}}
- --server
- {{ include "orch.url" . }}
{{- if eq (include "orch.tls" .) "true" }}
- --tls-ca
- /etc/orch/ca/ca.crt
{{- end }}
- --token-file
- /etc/orch/token/token
{{- end -}}

{{/* The authority, without the key that lies beside it. */}}
{{- define "orch.caVolume" -}}
- name: ca
  secret:
    secretName: {{ include "orch.tlsSecret" . }}
    defaultMode: 0440
    items: [{key: ca.crt, path: ca.crt}]
{{- end -}}

{{/* The token of a pod's ServiceAccount, as the file `token`. Context: root. */}}
{{- define "orch.projectedToken" -}}
- name: token
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken:
          path: token
          audience: {{ .Values.auth.serviceAccounts.audience }}
          expirationSeconds: {{ .Values.auth.serviceAccounts.expirationSeconds }}
{{- end -}}

{{/* A token as the file `token`. Context: {name, key}. */}}
{{- define "orch.tokenVolume" -}}
- name: token
  secret:
    secretName: {{ .name }}
    defaultMode: 0440
    items: [{key: {{ .key | quote }}, path: token}]
{{- end -}}
