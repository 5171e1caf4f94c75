{{- define "poller.hardened" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "poller.pod" -}}
metadata:
  labels: {{- include "poller.labels" . | nindent 4 }}
  annotations:
    checksum/config: {{ include "poller.config" . | sha256sum }}
    {{- with .Values.podAnnotations }}{{ toYaml . | nindent 4 }}{{ end }}
spec:
  serviceAccountName: {{ include "poller.name" . }}
  terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    fsGroup: 10001
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: {type: RuntimeDefault}
  {{- with .Values.image.pullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.function }}
  {{- if .image }}
  initContainers:
    - name: function
      restartPolicy: Always
      image: {{ .image | quote }}
      {{- with .args }}
      args: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- if or .runtimeApi .env }}
      env:
        {{- with .runtimeApi }}
        - {name: AWS_LAMBDA_RUNTIME_API, value: {{ . | quote }}}
        {{- end }}
        {{- with .env }}{{ toYaml . | nindent 8 }}{{ end }}
      {{- end }}
      {{- with .startupProbe }}
      startupProbe: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .resources }}
      resources: {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        {{- merge (deepCopy .securityContext) (include "poller.hardened" $ | fromYaml) | toYaml | nindent 8 }}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
  {{- end }}
  {{- end }}
  containers:
    - name: poller
      image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [run, /etc/poller/poller.yaml, --log-format, json]
      env:
        - name: POLLER_TOKEN
          valueFrom:
            secretKeyRef: {name: {{ include "poller.secret" . }}, key: token}
        {{- with .Values.env }}{{ toYaml . | nindent 8 }}{{ end }}
      ports:
        - {name: http, containerPort: 9310}
      livenessProbe:
        httpGet: {path: /healthz, port: http}
        periodSeconds: 20
        failureThreshold: 3
      readinessProbe:
        httpGet: {path: /readyz, port: http}
        periodSeconds: 5
      {{- with .Values.resources }}
      resources: {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext: {{- include "poller.hardened" . | nindent 8 }}
      volumeMounts:
        - {name: config, mountPath: /etc/poller, readOnly: true}
        - {name: state, mountPath: /var/lib/poller}
  volumes:
    - name: config
      configMap: {name: {{ include "poller.name" . }}}
    {{- if .Values.function.image }}
    - name: tmp
      emptyDir: {}
    {{- end }}
    {{- if not .Values.state.persistent }}
    - name: state
      emptyDir: {}
    {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
