//! How matrix products are cut into workgroups on a GPU: what `shaders/matmul.wgsl` and the convolutions share.

use crate::graph::{Launch, Operand, Shader, grid};
use crate::shader;

static MATMUL: Shader = shader!("matmul", "tile");

/// Terms of a sum beyond which a kernel sums in blocks of [`BLOCK`], so that the rounding error stops growing.
const LONG_SUM: usize = 4096;
/// Length of such a block, which ends with the round of staging that completes it.
const BLOCK: usize = 1024;
/// Terms staged in workgroup memory at a time, at most.
const DEPTH: usize = 16;
/// The same where the left factor alone is staged: it takes little memory, and fewer rounds are fewer barriers.
const OWN_DEPTH: usize = 32;
/// And for each part of a workgroup that is in parts.
const SPLIT_DEPTH: usize = 8;
/// Numbers of both factors staged at a time, at most: 9 of the 16 KiB of workgroup memory that WebGPU promises.
const STAGED: usize = 2304;

/// The part of a product that one workgroup makes: its 64 invocations stand in `thread_rows` rows, and each owns 4 or 8
/// rows by 4 or 8 columns of results in registers, or 16 by 4. Where a product is smaller than that, they are `splits` equal
/// parts, each of which makes the whole tile out of its share of the terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GpuTile {
    splits: usize,
    thread_rows: usize,
    own_rows: usize,
    wide_columns: bool,
    /// Whether invocations read the right factor for their own columns, instead of having it staged in workgroup memory.
    own_columns: bool,
}

/// What the right factor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Right {
    /// A matrix.
    Matrix,
    /// Elements of a map, gathered by taps that the kernel works out from the term: reading one costs more than a load, so where at most two
    /// invocations share a column, each reads what it needs.
    Gathered,
    /// The same, by taps that lie in workgroup memory.
    Tabled,
}

impl GpuTile {
    /// The shapes that are worth having; the kernels' workgroup memory is as large as the tile asks for.
    const WHOLE: [Self; 9] = [
        Self::new(1, 8, 8, true),
        Self::new(1, 4, 8, true),
        Self::new(1, 2, 8, true),
        Self::new(1, 4, 4, true),
        Self::new(1, 1, 8, false),
        Self::new(1, 2, 8, false),
        Self::new(1, 2, 4, false),
        Self::new(1, 4, 4, false),
        Self::new(1, 8, 4, false),
    ];
    /// More shapes for invocations that read their own columns: the more results each number serves the better, and they need no
    /// workgroup memory for the right factor.
    const OWN: [Self; 3] = [Self::new(1, 1, 8, true), Self::new(1, 1, 16, false), Self::new(1, 2, 16, false)];
    /// Shapes in parts, of weight gradients only.
    const SPLIT: [Self; 16] = [
        Self::new(2, 1, 8, true),
        Self::new(4, 1, 8, true),
        Self::new(8, 1, 8, true),
        Self::new(2, 1, 16, false),
        Self::new(4, 1, 16, false),
        Self::new(8, 1, 16, false),
        Self::new(2, 1, 8, false),
        Self::new(4, 1, 8, false),
        Self::new(2, 2, 8, false),
        Self::new(4, 2, 8, false),
        Self::new(2, 4, 8, true),
        Self::new(2, 2, 8, true),
        Self::new(4, 4, 8, true),
        Self::new(4, 2, 8, true),
        Self::new(4, 2, 4, true),
        Self::new(4, 4, 4, true),
    ];

    const fn new(splits: usize, thread_rows: usize, own_rows: usize, wide_columns: bool) -> Self {
        Self { splits, thread_rows, own_rows, wide_columns, own_columns: false }
    }

    /// The shapes where the right factor is gathered.
    fn gathering() -> impl Iterator<Item = Self> {
        Self::WHOLE.into_iter().chain(Self::OWN)
    }

    /// The tile for `products` products of `rows` by `columns` results each.
    pub(super) fn choose(rows: usize, columns: usize, products: usize) -> Self {
        Self::cheapest(Self::WHOLE.into_iter(), rows, columns, products, Right::Matrix)
    }

    /// The same where the right factor is gathered from a map.
    pub(super) fn choose_gathered(rows: usize, columns: usize, products: usize) -> Self {
        Self::cheapest(Self::gathering(), rows, columns, products, Right::Gathered)
    }

    /// The same where it is gathered by a table of taps.
    pub(super) fn choose_tabled(rows: usize, columns: usize, products: usize) -> Self {
        Self::cheapest(Self::gathering(), rows, columns, products, Right::Tabled)
    }

    /// The same for long sums; the caller adds up the [parts](Self::splits).
    pub(super) fn choose_split(rows: usize, columns: usize, products: usize) -> Self {
        Self::cheapest(Self::gathering().chain(Self::SPLIT), rows, columns, products, Right::Tabled)
    }

    /// An invocation's time per term goes with the products it adds up, the loads from workgroup memory, and its share of
    /// staging, or what it reads itself. Many tiles share the machine, so their times add up; a few run side by side, so that small tiles win.
    fn cheapest(among: impl Iterator<Item = Self>, rows: usize, columns: usize, products: usize, right: Right) -> Self {
        let staging = if right == Right::Tabled { 0.25 } else { 0.125 };
        let cost = |tile: &Self| {
            let (r, c) = (tile.own_rows as f64, tile.width() as f64);
            let (reading, staged) = if tile.own_columns { (6.0, 0) } else { (2.0, tile.columns()) };
            let own = (r * c + 2.0 * r + reading * c) / tile.splits as f64;
            let time = own + tile.rows() as f64 / 8.0 + staged as f64 * staging;
            time * (1.0 + (tile.count(rows, columns) * products) as f64 / 16.0)
        };
        among.map(|tile| tile.reading(right)).min_by(|a, b| cost(a).total_cmp(&cost(b))).expect("there are tiles")
    }

    /// The same tile with a right factor of that kind.
    fn reading(self, right: Right) -> Self {
        let most = if self.wide_columns { 1 } else { 2 };
        Self { own_columns: right != Right::Matrix && self.thread_rows <= most, ..self }
    }

    /// Partial sums that a workgroup makes of each result.
    pub(super) fn splits(self) -> usize {
        self.splits
    }

    /// The number of terms to stage at a time, for sums of these lengths. Every round takes the time of so many terms, so they are
    /// chosen to leave few of the last round's places empty, with few rounds. At most 64: one for each invocation.
    fn depth(self, sums: &[usize]) -> usize {
        let columns = if self.own_columns { 0 } else { self.columns() };
        let most = if self.own_columns { OWN_DEPTH } else { DEPTH }.max(SPLIT_DEPTH * self.splits);
        let most = most.min(STAGED / (self.rows() + columns)).min(64);
        let cost = |depth: usize| sums.iter().map(|terms| terms.div_ceil(depth) * (depth + 1)).sum::<usize>();
        let depths = (1..=most / self.splits).rev().map(|each| each * self.splits);
        depths.min_by_key(|&depth| cost(depth)).expect("at least one term is staged")
    }

    /// Columns of an invocation.
    fn width(self) -> usize {
        if self.wide_columns { 8 } else { 4 }
    }

    /// Rows of the tile.
    pub(super) fn rows(self) -> usize {
        self.thread_rows * self.own_rows
    }

    /// Columns of the tile.
    pub(super) fn columns(self) -> usize {
        64 / self.splits / self.thread_rows * self.width()
    }

    /// Tiles that cover one product.
    pub(super) fn count(self, rows: usize, columns: usize) -> usize {
        rows.div_ceil(self.rows()) * columns.div_ceil(self.columns())
    }

    /// The constants that the kernels share, for `products` products of `rows` by `columns` results each, sums of so many
    /// terms: one number, or one for each kind of product.
    pub(super) fn constants(
        self,
        rows: usize,
        columns: usize,
        sums: &[usize],
        products: usize,
    ) -> Vec<(&'static str, f64)> {
        let depth = self.depth(sums);
        let long = sums.iter().any(|&terms| terms > LONG_SUM);
        let right = if self.own_columns { 1 } else { self.columns() / 4 * depth };
        vec![
            ("SPLITS", self.splits as f64),
            ("THREAD_ROWS", self.thread_rows as f64),
            ("WIDE_ROWS", f64::from(u8::from(self.own_rows > 4))),
            ("TALL", f64::from(u8::from(self.own_rows > 8))),
            ("WIDE_COLUMNS", f64::from(u8::from(self.wide_columns))),
            ("OWN_COLUMNS", f64::from(u8::from(self.own_columns))),
            ("DEPTH", depth as f64),
            ("LEFT_LEN", (self.rows() / 4 * depth) as f64),
            ("RIGHT_LEN", right as f64),
            ("BLOCK", if long { BLOCK as f64 } else { 0.0 }),
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
        let mut constants = tile.constants(p.rows, p.columns, &[p.terms], p.batch);
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
        let gathered = GpuTile::gathering().chain(GpuTile::SPLIT);
        for tile in GpuTile::WHOLE.into_iter().chain(gathered.map(|tile| tile.reading(Right::Gathered))) {
            for sums in [&[1][..], &[50], &[144], &[16, 32, 32, 64], &[5504], &[0]] {
                let (rows, columns, depth) = (tile.rows(), tile.columns(), tile.depth(sums));
                let staged = if tile.own_columns { rows } else { rows + columns };
                assert!(staged * depth <= STAGED && (1..=64).contains(&depth), "{tile:?}");
                // Every part has the same number of terms of a round.
                assert!(depth.is_multiple_of(tile.splits), "{tile:?}");
                // Each invocation stages the same columns in every round.
                assert!(tile.own_columns || 64usize.is_multiple_of(columns / 4), "{tile:?}");
                // The kernel has tall rows only where columns are not staged.
                assert!(tile.own_columns || tile.own_rows <= 8, "{tile:?}");
            }
        }
    }

    #[test]
    fn little_of_the_last_round_of_staging_is_empty() {
        let tile = GpuTile::choose_gathered(8, 100_000, 1);
        assert_eq!(tile.depth(&[50]), 25);
        assert_eq!(tile.depth(&[16, 32, 32, 64]), 16);
        assert_eq!(tile.depth(&[1]), 1);
        let split = GpuTile::choose_split(16, 73, 64);
        assert_eq!((split.splits(), split.depth(&[100_000])), (8, 64));
    }

    #[test]
    fn tiles_follow_the_product() {
        assert_eq!(GpuTile::choose(4096, 4096, 1), GpuTile::new(1, 8, 8, true));
        assert_eq!(GpuTile::choose(8, 100_000, 1).rows(), 8);
        assert_eq!(GpuTile::choose(16, 100_000, 1).rows(), 16);
        // Few results: rather more workgroups than wide ones.
        assert!(GpuTile::choose(64, 96, 1).columns() < 128);
        // Eight channels: each column belongs to one invocation.
        assert!(GpuTile::choose_gathered(8, 100_000, 1).own_columns);
        // Where the taps are known reading costs less, so that columns of one's own serve more rows.
        assert!(!GpuTile::choose_gathered(16, 577, 7).own_columns && GpuTile::choose_tabled(16, 577, 7).own_columns);
        // Fewer results than 64 invocations could own: each part sums some of the terms.
        let tile = GpuTile::choose_split(8, 51, 64);
        assert_eq!((tile.splits, tile.rows(), tile.columns()), (8, 8, 64));
        assert_eq!(GpuTile::choose_split(64, 289, 64).splits, 1);
    }
}
