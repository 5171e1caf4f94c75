{{- define "poller.name" -}}
{{- printf "%s-poller" .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "poller.selector" -}}
app.kubernetes.io/name: poller
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "poller.labels" -}}
{{ include "poller.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{- define "poller.secret" -}}
{{- .Values.auth.existingSecret | default (include "poller.name" .) -}}
{{- end -}}

{{- /* The config with what the chart decides; the token comes from the environment. */ -}}
{{- define "poller.config" -}}
{{- $own := dict "listen" "0.0.0.0:9310" "state" "sqlite:/var/lib/poller/poller.db" -}}
{{- $auth := dict "auth" (dict "token" "${POLLER_TOKEN}") -}}
{{- toYaml (merge $own $auth (deepCopy .Values.config)) -}}
{{- end -}}
