// How the kernels of batch norm go through a channel's elements, over all items; see src/ops/batch_norm.rs. What is summed over a
// channel is summed in PARTS of nearly equal length; what is made of each element is made in blocks, of which a workgroup makes one.

override ITEMS: u32;
override CHANNELS: u32;
override PLANE: u32;
override PARTS: u32 = 1u;

const BLOCK = 1024u;

// Elements of a channel.
fn count() -> u32 {
    return ITEMS * PLANE;
}

// Where element `e` of a channel lies.
fn place(channel: u32, e: u32) -> u32 {
    return ((e / PLANE) * CHANNELS + channel) * PLANE + e % PLANE;
}

// Blocks of a channel.
fn blocks() -> u32 {
    return (count() + BLOCK - 1u) / BLOCK;
}

// The first element of a part; with PARTS, where the last one ends.
fn part_start(part: u32) -> u32 {
    return min(part * ((count() + PARTS - 1u) / PARTS), count());
}

