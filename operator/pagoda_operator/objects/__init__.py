"""Pure builders: a ModelDeployment goes in, one Kubernetes object comes out, one kind a file."""
