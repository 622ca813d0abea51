# shellcheck shell=bash
# The model of the page.
sed 's/name: quickstart/name: chat/' examples/quickstart.yaml | kubectl apply -f -
kubectl wait --for=condition=Ready modeldeployment/chat --timeout=5m
