# shellcheck shell=bash
# A volume for the claim of the page: the rig has no storage class.
mkdir --mode=777 "$HOME/volume"
kubectl apply -f - <<YAML
apiVersion: v1
kind: PersistentVolume
metadata: {name: pages}
spec:
  capacity: {storage: 10Gi}
  accessModes: [ReadWriteOnce]
  hostPath: {path: $HOME/volume, type: Directory}
YAML
