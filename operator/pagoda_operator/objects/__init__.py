"""Pure builders: a ModelDeployment goes in, one Kubernetes object comes out. One file per kind."""
