"""The chart's Grafana dashboards, as code: `python -m helm.dashboards` writes their JSON.

A file a board, beside `queries.py` (PromQL) and `panels.py` (what a panel looks like). The JSON is checked in; tests
compare it with this, and run every query on a real Prometheus (e2e/dashboards). It lies outside the chart so that it
is not packaged. It writes plain JSON on purpose: grafana-foundation-sdk gives targets no refId and panels no id, so
that as much code would stay, beside one more dependency.
"""
