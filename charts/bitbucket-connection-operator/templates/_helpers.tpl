{{/* The name of the application in labels. */}}
{{- define "bco.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The name of the objects: the release and the chart, once where one holds the other. */}}
{{- define "bco.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* Objects without a namespace: two releases, or one beside a plain copy, must not share a name by chance. */}}
{{- define "bco.clusterName" -}}
{{- if eq .Release.Namespace (include "bco.fullname" .) }}
{{- include "bco.fullname" . }}
{{- else }}
{{- printf "%s-%s" .Release.Namespace (include "bco.fullname" .) | trunc 100 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "bco.selectorLabels" -}}
app.kubernetes.io/name: {{ include "bco.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "bco.labels" -}}
{{ include "bco.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name (.Chart.Version | replace "+" "_") }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "bco.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default (include "bco.fullname" .) }}
{{- else }}
{{- required "serviceAccount.name is needed where serviceAccount.create is false: name the ServiceAccount that the operator shall run as" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* Who gets the operator's rights. */}}
{{- define "bco.subjects" -}}
subjects:
  - kind: ServiceAccount
    name: {{ include "bco.serviceAccountName" . }}
    namespace: {{ .Release.Namespace }}
{{- end }}

{{- define "bco.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}
{{- end }}

{{/* What the operator does with its own kinds; the argument is the list of their plurals. */}}
{{- define "bco.kindRules" -}}
# Its own kinds: watched, read once more before something is done for them, finalizers set and removed.
- apiGroups: [connections.kms.hanzo.ai]
  resources: {{ toJson . }}
  verbs: [get, list, watch, patch]
- apiGroups: [connections.kms.hanzo.ai]
  resources:
    {{- range . }}
    - {{ . }}/status
    {{- end }}
  verbs: [patch]
{{- end }}

{{/* What it needs in every namespace that it serves. */}}
{{- define "bco.namespaceRules" -}}
# Watched as metadata; read only where an object refers to them.
- apiGroups: [""]
  resources: [secrets, configmaps]
  verbs: [get, list, watch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end }}

{{/* The ServiceAccounts whose tokens may be minted, as JSON: namespace to names. */}}
{{- define "bco.tokens" -}}
{{- $tokens := dict }}
{{- range .Values.serviceAccountTokens }}
{{- $_ := set $tokens .namespace (concat (get $tokens .namespace | default list) .names | uniq) }}
{{- end }}
{{- if .Values.instance.create }}
{{- $auth := .Values.instance.spec.auth | default dict }}
{{- range $method := list "kubernetes" "oidc" }}
{{- $name := dig $method "serviceAccountRef" "name" "" $auth }}
{{- if $name }}
{{- range (include "bco.instanceNamespaces" $ | fromJsonArray) }}
{{- $_ := set $tokens . (append (get $tokens . | default list) $name | uniq) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- toJson $tokens }}
{{- end }}

{{/* The namespaces where the instance's references are looked for, as JSON. */}}
{{- define "bco.instanceNamespaces" -}}
{{- if .Values.watchNamespaces }}
{{- toJson .Values.watchNamespaces }}
{{- else }}
{{- list (.Values.instance.spec.namespace | default .Release.Namespace) | toJson }}
{{- end }}
{{- end }}

{{/* What can't be seen by the schema. */}}
{{- define "bco.validate" -}}
{{- if and .Values.watchNamespaces (not .Values.ownerId) }}
{{- fail "ownerId is needed with watchNamespaces, since the operator then may not read the namespace kube-system, whose uid is the default. Set it to something that no other cluster at this KMS uses and that never changes, such as --set ownerId=my-cluster" }}
{{- end }}
{{- if and .Values.instance.create (not .Values.instance.spec.auth) }}
{{- fail "instance.spec.auth is needed with instance.create: how the operator logs in to the KMS, such as {universal: {secretRef: {name: kms-identity}}}" }}
{{- end }}
{{- if and .Values.instance.create .Values.watchNamespaces (or .Values.instance.spec.grants .Values.instance.spec.namespace) }}
{{- fail "instance.spec.grants and instance.spec.namespace are for a ClusterKmsInstance, which doesn't serve with watchNamespaces: a KmsInstance serves its own namespace. Leave them out" }}
{{- end }}
{{- if and .Values.podMonitor.create .Values.serviceMonitor.create }}
{{- fail "podMonitor.create and serviceMonitor.create would both have the same metrics read, and sums would count them twice: leave one of them out" }}
{{- end }}
{{- end }}
