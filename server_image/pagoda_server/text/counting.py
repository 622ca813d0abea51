"""Puts counters into a chat template's syntax tree, at all that costs time or memory and that no function call is."""

from typing import Any

from jinja2 import nodes
from jinja2.visitor import NodeTransformer


def count_work(tree: nodes.Template) -> nodes.Template:
    """Returns the tree with a counter at each of these places."""
    counted: nodes.Template = _Counting().visit(tree)
    return counted


def _count(kind: str, value: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(value, f"pagoda.{kind}", [], [], None, None, lineno=value.lineno)


class _Counting(NodeTransformer):
    def visit_For(self, node: nodes.For) -> nodes.For:
        """Counts each pass. NB: a condition may skip all passes, so it is counted too."""
        self.generic_visit(node)
        passed = _count("pass", nodes.Const(True, lineno=node.lineno))
        node.body.insert(0, nodes.ExprStmt(passed, lineno=node.lineno))
        if node.test is not None:
            node.test = nodes.And(_count("pass", nodes.Const(True, lineno=node.lineno)), node.test, lineno=node.lineno)
        return node

    def visit_Output(self, node: nodes.Output) -> nodes.Output:
        self.generic_visit(node)
        node.nodes = [_count("text", child) for child in node.nodes]
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Filter:
        self.generic_visit(node)
        return _count("concatenate", nodes.List(node.nodes, lineno=node.lineno))

    def visit_Compare(self, node: nodes.Compare) -> nodes.Compare:
        self.generic_visit(node)
        node.expr = _count_unless_constant(node.expr)
        for operand in node.ops:
            operand.expr = _count_unless_constant(operand.expr)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Expr:
        self.generic_visit(node)
        if not isinstance(node.arg, nodes.Slice):
            return node
        node.node = _count("value", node.node)
        return _count("slice", node)

    def visit_List(self, node: nodes.List) -> nodes.Expr:
        return self._visit_container(node)

    def visit_Dict(self, node: nodes.Dict) -> nodes.Expr:
        return self._visit_container(node)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Expr:
        return self._visit_container(node) if node.ctx == "load" else node

    def _visit_container(self, node: Any) -> nodes.Expr:
        self.generic_visit(node)
        return _count("value", node)


def _count_unless_constant(node: nodes.Expr) -> nodes.Expr:
    return node if isinstance(node, nodes.Const) else _count("value", node)
