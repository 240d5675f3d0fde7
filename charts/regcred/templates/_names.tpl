{{/* The beginning of the names of all objects, and the operator's ServiceAccount. */}}
{{- define "regcred.name" -}}
{{- $name := .Values.fullnameOverride | default .Release.Name | toString | replace "." "-" | trunc 40 | trimAll "-" -}}
{{- /* Services of older clusters may not begin with a digit. */ -}}
{{- if not (regexMatch "^[a-z]" $name) }}{{ $name = printf "regcred-%s" $name }}{{ end -}}
{{- $name -}}
{{- end -}}

{{- define "regcred.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "regcred.name" .) -}}
{{- end -}}

{{/* The operator as the API server knows it. */}}
{{- define "regcred.user" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ include "regcred.serviceAccount" . }}
{{- end -}}

{{/* What never changes during the life of a release, so that Deployments can select by it. */}}
{{- define "regcred.selector" -}}
app.kubernetes.io/name: regcred
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "regcred.labels" -}}
{{ include "regcred.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The namespaces of the cluster's own parts that nothing is delivered to, as JSON. */}}
{{- define "regcred.protected" -}}
{{- $protected := list "kube-system" "kube-public" "kube-node-lease" -}}
{{- range .Values.protectedNamespaces.allow }}{{ $protected = without $protected . }}{{ end -}}
{{- toJson $protected -}}
{{- end -}}

{{/* Whether the policy for patterns of images is installed: "true" or nothing. */}}
{{- define "regcred.linksByPolicy" -}}
{{- $served := .Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy" -}}
{{- if or (eq .Values.autoLink.mode "policy") (and (eq .Values.autoLink.mode "auto") $served) -}}true{{- end -}}
{{- end -}}
