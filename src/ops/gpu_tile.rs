//! How matrix products are cut into workgroups on a GPU: what `shaders/matmul.wgsl` and the convolutions share.

use crate::graph::{Launch, Operand, Shader, grid};
use crate::shader;

static MATMUL: Shader = shader!("matmul", "tile");

/// Terms of a sum beyond which a kernel sums in blocks of [`BLOCK`], so that the rounding error stops growing.
const LONG_SUM: usize = 4096;
/// Length of such a block; a multiple of every [`GpuTile::depth`].
const BLOCK: usize = 1024;
/// Terms staged in workgroup memory at a time.
const DEPTH: usize = 16;

/// The part of a product that one workgroup makes: its 64 invocations stand in `thread_rows` rows, and each owns 4 or 8
/// rows by 4 or 8 columns of results in registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GpuTile {
    thread_rows: usize,
    wide_rows: bool,
    wide_columns: bool,
}

impl GpuTile {
    /// The shapes that are worth having; the kernels' workgroup memory is as large as the tile asks for.
    const ALL: [Self; 7] = [
        Self::new(8, true, true),
        Self::new(4, true, true),
        Self::new(4, false, true),
        Self::new(2, true, false),
        Self::new(2, false, false),
        Self::new(4, false, false),
        Self::new(8, false, false),
    ];

    const fn new(thread_rows: usize, wide_rows: bool, wide_columns: bool) -> Self {
        Self { thread_rows, wide_rows, wide_columns }
    }

    /// The tile for `products` products of `rows` by `columns` results each.
    ///
    /// An invocation's time per term goes with the products it adds up, the loads from workgroup memory, and its share of
    /// staging. Many tiles share the machine, so their times add up; a few run side by side, so that small tiles win.
    pub(super) fn choose(rows: usize, columns: usize, products: usize) -> Self {
        let cost = |tile: &Self| {
            let (r, c) = (tile.own_rows() as f64, tile.own_columns() as f64);
            let time = r * c + 2.0 * (r + c) + (tile.rows() + tile.columns()) as f64 / 8.0;
            time * (1.0 + (tile.count(rows, columns) * products) as f64 / 16.0)
        };
        let mut best = Self::ALL[0];
        for tile in &Self::ALL[1..] {
            if cost(tile) < cost(&best) {
                best = *tile;
            }
        }
        best
    }

    fn own_rows(self) -> usize {
        if self.wide_rows { 8 } else { 4 }
    }

    fn own_columns(self) -> usize {
        if self.wide_columns { 8 } else { 4 }
    }

    /// Rows of the tile.
    pub(super) fn rows(self) -> usize {
        self.thread_rows * self.own_rows()
    }

    /// Columns of the tile.
    pub(super) fn columns(self) -> usize {
        64 / self.thread_rows * self.own_columns()
    }

    /// Tiles that cover one product.
    pub(super) fn count(self, rows: usize, columns: usize) -> usize {
        rows.div_ceil(self.rows()) * columns.div_ceil(self.columns())
    }

    /// The constants that the kernels share, for `products` products of `rows` by `columns` results, each a sum of
    /// `terms`.
    pub(super) fn constants(
        self,
        rows: usize,
        columns: usize,
        terms: usize,
        products: usize,
    ) -> Vec<(&'static str, f64)> {
        vec![
            ("THREAD_ROWS", self.thread_rows as f64),
            ("WIDE_ROWS", f64::from(u8::from(self.wide_rows))),
            ("WIDE_COLUMNS", f64::from(u8::from(self.wide_columns))),
            ("DEPTH", DEPTH as f64),
            ("LEFT_LEN", (self.rows() / 4 * DEPTH) as f64),
            ("RIGHT_LEN", (self.columns() / 4 * DEPTH) as f64),
            ("BLOCK", if terms > LONG_SUM { BLOCK as f64 } else { 0.0 }),
            ("ROW_TILES", rows.div_ceil(self.rows()) as f64),
            ("COLUMN_TILES", columns.div_ceil(self.columns()) as f64),
            ("WORKGROUPS", (self.count(rows, columns) * products) as f64),
        ]
    }
}

/// A batch of products `c[i] = a[i] b[i]`, with c `[batch, rows, columns]` in row-major order.
#[derive(Clone, Copy, Debug)]
pub(super) struct GpuProduct {
    /// Number of products.
    pub batch: usize,
    /// Rows of a and c.
    pub rows: usize,
    /// Columns of b and c.
    pub columns: usize,
    /// Columns of a, rows of b.
    pub terms: usize,
    /// Whether each matrix of a lies transposed.
    pub transpose_a: bool,
    /// Whether each matrix of b lies transposed.
    pub transpose_b: bool,
    /// Whether one b serves all products (and a does not lie transposed).
    pub shared_b: bool,
}

impl GpuProduct {
    /// The launch that computes it: inputs a, b and, with `bias`, a number to add to each column; output c.
    pub(super) fn launch(&self, bias: Option<Operand>) -> Launch {
        // One b for all: the batch is only more rows.
        let mut p = *self;
        if p.shared_b {
            p.rows *= p.batch;
            p.batch = 1;
        }
        let tile = GpuTile::choose(p.rows, p.columns, p.batch);
        let mut constants = tile.constants(p.rows, p.columns, p.terms, p.batch);
        let (a_row, a_term) = if p.transpose_a { (1, p.rows) } else { (p.terms, 1) };
        let (b_term, b_column) = if p.transpose_b { (1, p.terms) } else { (p.columns, 1) };
        let sizes = [
            ("ROWS", p.rows),
            ("COLUMNS", p.columns),
            ("TERMS", p.terms),
            ("A_ROW", a_row),
            ("A_TERM", a_term),
            ("A_BATCH", p.rows * p.terms),
            ("B_TERM", b_term),
            ("B_COLUMN", b_column),
            ("B_BATCH", if p.shared_b { 0 } else { p.terms * p.columns }),
            ("BIAS", usize::from(bias.is_some())),
        ];
        constants.extend(sizes.map(|(name, value)| (name, value as f64)));
        let workgroups = grid(tile.count(p.rows, p.columns) * p.batch);
        // The slot must be bound: without a bias it holds b, unread.
        let operands =
            vec![Operand::Input(0), Operand::Input(1), bias.unwrap_or(Operand::Input(1)), Operand::Output(0)];
        Launch { shader: &MATMUL, constants, operands, workgroups }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_fit_the_workgroup_memory_of_the_kernels() {
        for tile in GpuTile::ALL {
            assert!(tile.rows() <= 64 && tile.columns() <= 128, "{tile:?}");
            // Every round of staging gives each invocation whole quads of one term.
            assert!(
                64usize.is_multiple_of(tile.columns() / 4) && DEPTH.is_multiple_of(64 / (tile.columns() / 4)),
                "{tile:?}"
            );
        }
        const { assert!(BLOCK.is_multiple_of(DEPTH) && 64usize.is_multiple_of(DEPTH)) };
    }

    #[test]
    fn tiles_follow_the_product() {
        assert_eq!(GpuTile::choose(4096, 4096, 1), GpuTile::new(8, true, true));
        assert_eq!(GpuTile::choose(8, 100_000, 1).rows(), 8);
        assert_eq!(GpuTile::choose(16, 100_000, 1).rows(), 16);
        // Few results: rather more workgroups than wide ones.
        assert!(GpuTile::choose(64, 96, 1).columns() < 128);
    }
}
