# shellcheck shell=bash
# A Jaeger of the page's own beside the cluster, and the Service that leads to it. `e2e/cluster/build.sh full` makes it.
address=192.0.2.1
unused=(admin.http collector.grpc-server collector.http-server collector.otlp.grpc query.grpc-server)
flags=("${unused[@]/%/.host-port=127.0.0.1:0}" "collector.otlp.http.host-port=$address:4318" query.http-server.host-port=127.0.0.1:16686)
jaeger "${flags[@]/#/--}" >/dev/null 2>&1 &
kubectl apply -f - <<YAML
apiVersion: v1
kind: Service
metadata: {name: collector}
spec: {ports: [{name: otlp, port: 4318}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: collector, labels: {kubernetes.io/service-name: collector}}
addressType: IPv4
ports: [{name: otlp, port: 4318}]
endpoints: [{addresses: [$address]}]
YAML
curl -fsS --retry 30 --retry-connrefused --retry-delay 1 http://127.0.0.1:16686/api/services
