"""Vector instructions for compiled functions: what a compiler would not make of loops, or not as fast.

Each works on flat float32 arrays from given elements on, in steps of LANES floats, and checks no bounds. Counts are multiples of LANES where
nothing else is said. On a processor with shorter vectors a step is several instructions.
"""

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic

__all__ = ["LANES", "LOWEST", "ROWS", "SQUARE", "add_product", "clear", "copy", "dot", "exponentials", "largest", "set_product", "transpose", "weigh"]

LANES = 16
"""Floats of a vector: a cache line."""
ROWS = 6
"""Rows of a product that are summed in registers: with two registers to a vector, twelve of the sixteen that AVX2 has."""
SQUARE = 8
"""Rows and columns that are transposed in registers."""
LOWEST = -1e30
"""Less than any score; infinity would become NaN in a difference."""
POLYNOMIAL = (0.0001535336, 0.001339887, 0.009618437, 0.05550332, 0.24022648, 0.6931472, 1.0)
"""Of 2^x for |x| <= 1/2, highest power first."""


def _vectors(count: int) -> ir.Type:
    return ir.VectorType(ir.FloatType(), count)


def _all(value: float, vector: ir.Type) -> Any:
    return ir.Constant(vector, [value] * vector.count)


def _spread(builder: Any, value: Any) -> Any:
    """A vector of one value."""
    vector, i32 = ir.VectorType(value.type, LANES), ir.IntType(32)
    single = builder.insert_element(ir.Constant(vector, ir.Undefined), value, i32(0))
    return builder.shuffle_vector(single, ir.Constant(vector, ir.Undefined), _all(0, ir.VectorType(i32, LANES)))


def _fold(builder: Any, value: Any, combine: Any) -> Any:
    """One number from a vector: halves are combined until it is left."""
    i32, size = ir.IntType(32), LANES
    while size > 1:
        size //= 2
        halves = (ir.Constant(ir.VectorType(i32, size), list(range(start, start + size))) for start in (0, size))
        value = combine(*(builder.shuffle_vector(value, value, half) for half in halves))
    return builder.extract_element(value, i32(0))


def _address(context: Any, builder: Any, kind: Any, array: Any, index: Any, target: ir.Type) -> Any:
    """Of an element of a flat array, as that of a value of another type."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), target.as_pointer())


def _product(add: bool) -> Any:
    """The routine for c[i, n] = sum over s of a[i, s] * b[s, n], or c += with `add`, for ROWS rows i and LANES columns n."""

    def typed(
        typing_context: Any, c: Any, c_at: Any, c_row: Any, a: Any, a_at: Any, a_row: Any, a_step: Any, b: Any, b_at: Any, b_step: Any,
        count: Any,
    ) -> Any:  # fmt: skip
        """Arguments: array, first element, and distance of rows or steps of each; number of steps."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            c, c_at, c_row, a, a_at, a_row, a_step, b, b_at, b_step, count = arguments
            kinds, i64, vector = signature.args, count.type, _vectors(LANES)
            targets, lefts, sums = [], [], []
            for i in range(ROWS):
                targets.append(_address(context, builder, kinds[0], c, builder.add(c_at, builder.mul(c_row, i64(i))), vector))
                lefts.append(_address(context, builder, kinds[3], a, builder.add(a_at, builder.mul(a_row, i64(i))), ir.FloatType()))
                start = builder.load(targets[i], align=4) if add else _all(0.0, vector)
                sums.append(cgutils.alloca_once_value(builder, start))
            with cgutils.for_range(builder, count) as loop:
                place = builder.add(b_at, builder.mul(loop.index, b_step))
                right = builder.load(_address(context, builder, kinds[7], b, place, vector), align=4)
                for left, total in zip(lefts, sums, strict=True):
                    value = builder.load(builder.gep(left, [builder.mul(loop.index, a_step)]))
                    term = builder.fmul(_spread(builder, value), right, flags=("contract",))
                    builder.store(builder.fadd(builder.load(total), term, flags=("contract",)), total)
            for target, total in zip(targets, sums, strict=True):
                builder.store(builder.load(total), target, align=4)
            return context.get_dummy_value()

        step = types.intp
        return types.void(c, step, step, a, step, step, step, b, step, step, step), generate

    return intrinsic(typed)


set_product, add_product = _product(add=False), _product(add=True)


def _seen(builder: Any, first: Any, seen: Any) -> Any:
    """Which of the LANES elements from `first` on are among the `seen` first."""
    i32 = ir.IntType(32)
    left = _spread(builder, builder.trunc(builder.sub(seen, first), i32))
    return builder.icmp_signed("<", ir.Constant(ir.VectorType(i32, LANES), list(range(LANES))), left)


@intrinsic
def largest(typing_context: Any, x: Any, first: Any, seen: Any) -> Any:
    """The largest of `seen` elements from `first` on; compilers make no vectors of it if there may be NaN."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, first, seen = arguments
        vector = _vectors(LANES)
        top = cgutils.alloca_once_value(builder, _all(LOWEST, vector))

        def larger(left: Any, right: Any) -> Any:
            return builder.select(builder.fcmp_ordered(">", left, right), left, right)

        with cgutils.for_range_slice(builder, seen.type(0), seen, seen.type(LANES)) as (j, _):
            value = builder.load(_address(context, builder, signature.args[0], x, builder.add(first, j), vector), align=4)
            value = builder.select(_seen(builder, j, seen), value, _all(LOWEST, vector))
            builder.store(larger(value, builder.load(top)), top)
        return _fold(builder, builder.load(top), larger)

    return types.float32(x, types.intp, types.intp), generate


def _powers(builder: Any, x: Any) -> Any:
    """Code for 2^x of a vector, x up to 126: 2^round(x), put into the exponent's bits, times a polynomial in the rest (relative error 1e-7).

    The comparison keeps what is no number.
    """
    vector, integers = x.type, ir.VectorType(ir.IntType(32), x.type.count)

    def times_plus(left: Any, right: Any, more: float) -> Any:
        return builder.fadd(builder.fmul(left, right, flags=("contract",)), _all(more, vector), flags=("contract",))

    x = builder.select(builder.fcmp_ordered("<", x, _all(-126.0, vector)), _all(-126.0, vector), x)
    floor = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector]), f"llvm.floor.v{vector.count}f32")
    whole = builder.call(floor, [builder.fadd(x, _all(0.5, vector))])
    x, total = builder.fsub(x, whole), _all(POLYNOMIAL[0], vector)
    for coefficient in POLYNOMIAL[1:]:
        total = times_plus(total, x, coefficient)
    exponent = builder.shl(builder.add(builder.fptosi(whole, integers), _all(127, integers)), _all(23, integers))
    return builder.fmul(total, builder.bitcast(exponent, vector))


@intrinsic
def exponentials(typing_context: Any, x: Any, first: Any, seen: Any, count: Any, top: Any) -> Any:
    """Turn `seen` elements into 2^(x - top) and those up to `count` into 0; returns their sum."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, first, seen, count, top = arguments
        vector = _vectors(LANES)
        total, top = cgutils.alloca_once_value(builder, _all(0.0, vector)), _spread(builder, top)
        with cgutils.for_range_slice(builder, count.type(0), count, count.type(LANES)) as (j, _):
            place = _address(context, builder, signature.args[0], x, builder.add(first, j), vector)
            power = _powers(builder, builder.fsub(builder.load(place, align=4), top))
            power = builder.select(_seen(builder, j, seen), power, _all(0.0, vector))
            builder.store(power, place, align=4)
            builder.store(builder.fadd(builder.load(total), power), total)
        return _fold(builder, builder.load(total), builder.fadd)

    return types.float32(x, types.intp, types.intp, types.intp, types.float32), generate


@intrinsic
def weigh(typing_context: Any, x: Any, y: Any, first: Any, seen: Any, count: Any, top: Any, drop: Any) -> Any:
    """Turn `seen` elements into x = 2^(x - top) and y = x * (y - drop), and those up to `count` into 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, y, first, seen, count, top, drop = arguments
        vector, top, drop = _vectors(LANES), _spread(builder, top), _spread(builder, drop)
        with cgutils.for_range_slice(builder, count.type(0), count, count.type(LANES)) as (j, _):
            x_place, y_place = (
                _address(context, builder, kind, array, builder.add(first, j), vector)
                for kind, array in zip(signature.args, (x, y), strict=False)
            )
            mask, zeros = _seen(builder, j, seen), _all(0.0, vector)
            power = _powers(builder, builder.fsub(builder.load(x_place, align=4), top))
            change = builder.fmul(power, builder.fsub(builder.load(y_place, align=4), drop))
            builder.store(builder.select(mask, power, zeros), x_place, align=4)
            builder.store(builder.select(mask, change, zeros), y_place, align=4)
        return context.get_dummy_value()

    return types.void(x, y, types.intp, types.intp, types.intp, types.float32, types.float32), generate


@intrinsic
def dot(typing_context: Any, x: Any, y: Any, first: Any, count: Any) -> Any:
    """Product of `count` elements, a multiple of LANES."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, y, first, count = arguments
        vector = _vectors(LANES)
        total = cgutils.alloca_once_value(builder, _all(0.0, vector))
        with cgutils.for_range_slice(builder, count.type(0), count, count.type(LANES)) as (j, _):
            left, right = (
                builder.load(_address(context, builder, kind, array, builder.add(first, j), vector), align=4)
                for kind, array in zip(signature.args, (x, y), strict=False)
            )
            builder.store(builder.fadd(builder.load(total), builder.fmul(left, right)), total)
        return _fold(builder, builder.load(total), builder.fadd)

    return types.float32(x, y, types.intp, types.intp), generate


@intrinsic
def transpose(typing_context: Any, target: Any, at: Any, source: Any, start: Any, step: Any) -> Any:
    """Transpose SQUARE rows of SQUARE elements: those of the source are `step` apart, those of the target LANES."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        target, at, source, start, step = arguments
        vector, i64 = _vectors(SQUARE), step.type

        def join(left: Any, right: Any, numbers: list[int]) -> Any:
            return builder.shuffle_vector(left, right, ir.Constant(ir.VectorType(ir.IntType(32), SQUARE), numbers))

        places = (builder.add(start, builder.mul(step, i64(i))) for i in range(SQUARE))
        rows = [builder.load(_address(context, builder, signature.args[2], source, place, vector), align=4) for place in places]
        # In three rounds, each one instruction: neighbours of single elements, of pairs, and of halves.
        for distance, low, high in (
            (1, [0, 8, 1, 9, 4, 12, 5, 13], [2, 10, 3, 11, 6, 14, 7, 15]),
            (2, [0, 1, 8, 9, 4, 5, 12, 13], [2, 3, 10, 11, 6, 7, 14, 15]),
            (4, [0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15]),
        ):
            pairs = [(i, i + distance) for i in range(SQUARE) if not i & distance]
            halves = {i: (join(rows[i], rows[k], low), join(rows[i], rows[k], high)) for i, k in pairs}
            rows = [halves[i & ~distance][bool(i & distance)] for i in range(SQUARE)]
        for i, row in enumerate(rows):
            # The rounds have left columns 1 and 2, and 5 and 6, in each other's place.
            place = builder.add(at, i64((0, 2, 1, 3, 4, 6, 5, 7)[i] * LANES))
            builder.store(row, _address(context, builder, signature.args[0], target, place, vector), align=4)
        return context.get_dummy_value()

    return types.void(target, types.intp, source, types.intp, types.intp), generate


@intrinsic
def clear(typing_context: Any, x: Any, first: Any, count: Any) -> Any:
    """Fill `count` elements with 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, first, count = arguments
        cgutils.memset(builder, _address(context, builder, signature.args[0], x, first, ir.IntType(8)), builder.mul(count, count.type(4)), 0)
        return context.get_dummy_value()

    return types.void(x, types.intp, types.intp), generate


@intrinsic
def copy(typing_context: Any, target: Any, at: Any, source: Any, start: Any, count: Any, factor: Any) -> Any:
    """Copy `count` elements, a multiple of LANES, times a factor."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        target, at, source, start, count, factor = arguments
        vector, factor = _vectors(LANES), _spread(builder, factor)
        with cgutils.for_range_slice(builder, count.type(0), count, count.type(LANES)) as (j, _):
            place = _address(context, builder, signature.args[2], source, builder.add(start, j), vector)
            value = builder.fmul(builder.load(place, align=4), factor)
            builder.store(value, _address(context, builder, signature.args[0], target, builder.add(at, j), vector), align=4)
        return context.get_dummy_value()

    return types.void(target, types.intp, source, types.intp, types.intp, types.float32), generate
