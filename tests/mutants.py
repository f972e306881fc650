"""Wrong answers made from a right one: its source with one thing changed.

``mutants`` parses the source of a function, class or kernel and changes one
node of the tree at a time. The source is written by ``ast.unparse``, which
puts each statement on one line, so that a mutant differs in one line.
"""

import ast
import copy
from collections.abc import Collection, Iterator

_OPERATORS: dict[type, tuple[type, ...]] = {
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div, ast.Add),
    ast.Div: (ast.Mult, ast.FloorDiv),
    ast.FloorDiv: (ast.Div, ast.Mod),
    ast.Mod: (ast.FloorDiv,),
    ast.Pow: (ast.Mult,),
    ast.MatMult: (ast.Mult,),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
    ast.And: (ast.Or,),
    ast.Or: (ast.And,),
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
# Lines of the stub, which nobody writes.
_GIVEN = "annotation", "returns", "decorator_list", "bases"
_COMMUTE = ast.Add, ast.Mult, ast.BitAnd, ast.BitOr
_NAMES = {
    "max": "min",
    "maximum": "minimum",
    "argmax": "argmin",
    "amax": "amin",
    "sum": "mean",
    "any": "all",
    "floor": "ceil",
    "triu": "tril",
    "zeros": "ones",
    "log": "log2",
    "cos": "sin",
}
_NAMES |= {new: old for old, new in _NAMES.items()}


def mutants(source: str, modules: Collection[str] = ()) -> Iterator[str]:
    """Yield each different source that one change makes of ``source``.

    ``modules`` are the names of modules in it: ``np.exp(x)`` can lose its
    call, as ``x.exp()`` can, but ``np`` is no value.
    """
    tree = ast.parse(source)
    _without_docstrings(tree)
    seen = {ast.unparse(tree)}
    for node, field, index in _places(tree):
        siblings = getattr(node, field)
        old = siblings if index is None else siblings[index]
        for new in _variants(old, modules):
            _put(node, field, index, new)
            text = ast.unparse(ast.fix_missing_locations(tree))
            if text not in seen:
                seen.add(text)
                yield text
        _put(node, field, index, old)


def plain(source: str) -> str:
    """Return ``source`` as mutants are written, with nothing changed."""
    tree = ast.parse(source)
    _without_docstrings(tree)
    return ast.unparse(tree)


def _without_docstrings(tree: ast.AST) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            first = node.body[0]
            if ast.get_docstring(node) is not None and len(node.body) > 1:
                node.body.remove(first)


def _places(node: ast.AST) -> Iterator[tuple[ast.AST, str, int | None]]:
    """Yield (node, field, index) of every statement and expression in it."""
    for field, value in ast.iter_fields(node):
        if field in _GIVEN or isinstance(value, ast.arguments):
            continue
        several = isinstance(value, list)
        for i, child in enumerate(value if several else [value]):
            if not isinstance(child, ast.AST):
                continue
            if isinstance(child, ast.expr | ast.stmt):
                yield node, field, i if several else None
            yield from _places(child)


def _put(node: ast.AST, field: str, index: int | None, new: ast.AST) -> None:
    if index is None:
        setattr(node, field, new)
    else:
        getattr(node, field)[index] = new


def _variants(
    node: ast.AST, modules: Collection[str]
) -> Iterator[ast.expr | ast.stmt]:
    match node:
        case ast.BinOp(left, op, right):
            yield from _with_operator(node, op)
            yield left  # a term or a factor dropped
            yield right
            if not isinstance(op, _COMMUTE):
                yield ast.BinOp(right, op, left)
        case ast.UnaryOp(_, operand):
            yield operand
        case ast.BoolOp(op, values):
            yield from _with_operator(node, op)
            yield from values
        case ast.Compare(ops=[op]):
            for new in _OPERATORS[type(op)]:
                yield _with(node, ops=[new()])
        case ast.Constant(value):
            yield from map(ast.Constant, _constants(value))
        case ast.Call():
            yield from _calls(node, modules)
        case ast.Subscript(value, index):
            if "None" in [ast.unparse(x) for x in _axes(index)]:
                yield value  # [:, None] forgotten
            yield from _slices(node)
        case ast.Attribute(value, name):
            if name in ("T", "mT"):
                yield value
            if name in _NAMES:
                yield _with(node, attr=_NAMES[name])
        case ast.Name(name) if name in _NAMES:
            yield ast.Name(_NAMES[name])
        case ast.Tuple(values, ast.Load()):
            for swapped in _swapped(values):
                yield _with(node, elts=swapped)
        case ast.IfExp(test, body, orelse):
            yield body
            yield orelse
        case ast.ListComp() | ast.GeneratorExp():
            for i, part in enumerate(node.generators):
                if part.ifs:
                    new = copy.deepcopy(node)
                    new.generators[i].ifs = []
                    yield new
        case ast.Return(value) if value and not isinstance(value, ast.Tuple):
            if "np" in modules:
                yield ast.Return(_called("np.float32", value))
            elif "torch" in modules:
                yield ast.Return(_called("torch.Tensor.float", value))
        case ast.AugAssign(target, op, value):
            yield from _with_operator(node, op)
            yield ast.Assign([target], value, lineno=0)
            yield ast.Pass()
        case ast.Expr():
            yield ast.Pass()
        case ast.If(test=test) | ast.While(test=test):
            yield _with(node, test=ast.UnaryOp(ast.Not(), test))
        case ast.Break():
            yield ast.Continue()
        case ast.Continue():
            yield ast.Break()


def _with(node: ast.AST, **fields: object) -> ast.AST:
    """Return a copy of a node with other fields."""
    new = copy.copy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new


def _with_operator(node: ast.AST, op: ast.AST) -> Iterator[ast.AST]:
    for new in _OPERATORS.get(type(op), ()):
        yield _with(node, op=new())


def _constants(value: object) -> list[object]:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1]
    if isinstance(value, float):
        return [2 * value, 0.0, 1.0]
    return []


def _calls(node: ast.Call, modules: Collection[str]) -> Iterator[ast.AST]:
    function, args = node.func, node.args
    name = ast.unparse(function)
    method = isinstance(function, ast.Attribute) and not (
        name.partition(".")[0] in modules or name.startswith("super()")
    )
    if method:  # x.astype(int), x.sum(1)
        yield function.value
    elif len(args) == 1 and not isinstance(args[0], ast.Starred):
        yield args[0]  # int(x), np.exp(x)
    for swapped in _swapped(args):
        yield _with(node, args=swapped)
    for keyword in node.keywords:
        kept = [k for k in node.keywords if k is not keyword]
        yield _with(node, keywords=kept)
    if name.rpartition(".")[2] in ("range", "arange") and args:
        for moved in _off_by_one(args[-1]):
            yield _with(node, args=[*args[:-1], moved])


def _swapped(values: list[ast.expr]) -> Iterator[list[ast.expr]]:
    for i in range(len(values) - 1):
        yield [*values[:i], values[i + 1], values[i], *values[i + 2 :]]


def _axes(index: ast.expr) -> list[ast.expr]:
    return index.elts if isinstance(index, ast.Tuple) else [index]


def _slices(node: ast.Subscript) -> Iterator[ast.AST]:
    """Yield subscripts with one bound of a slice dropped or moved by one."""
    axes = _axes(node.slice)
    for i, axis in enumerate(axes):
        if not isinstance(axis, ast.Slice):
            continue
        for bound in ("lower", "upper", "step"):
            old = getattr(axis, bound)
            if old is None:
                continue
            for new in (None, *_off_by_one(old)):
                moved = _with(axis, **{bound: new})
                every = [*axes[:i], moved, *axes[i + 1 :]]
                index = ast.Tuple(every) if len(axes) > 1 else moved
                yield _with(node, slice=index)


def _off_by_one(value: ast.expr) -> Iterator[ast.expr]:
    if not isinstance(value, ast.Constant | ast.UnaryOp):
        yield ast.BinOp(value, ast.Add(), ast.Constant(1))
        yield ast.BinOp(value, ast.Sub(), ast.Constant(1))


def _called(function: str, value: ast.expr) -> ast.expr:
    return ast.Call(ast.parse(function, mode="eval").body, [value], [])
