// How the kernels of batch norm go through a channel's elements, over all items; see src/ops/batch_norm.rs. They read and write WIDTH
// neighbouring elements at once, a Vector. What is summed over a channel is summed in PARTS of nearly equal length; what is made of each element is made
// in blocks, of which a workgroup makes one.

override ITEMS: u32;
override CHANNELS: u32;
override PLANE: u32; // in Vectors
override PARTS: u32 = 1u;

// Vectors of a block: 2048 elements.
const BLOCK = 2048u / WIDTH;

// Vectors of a channel.
fn count() -> u32 {
    return ITEMS * PLANE;
}

// Its elements.
fn elements() -> f32 {
    return f32(count() * WIDTH);
}

// Where the Vector of number `e` lies in a channel.
fn place(channel: u32, e: u32) -> u32 {
    return ((e / PLANE) * CHANNELS + channel) * PLANE + e % PLANE;
}

// Blocks of a channel.
fn blocks() -> u32 {
    return (count() + BLOCK - 1u) / BLOCK;
}

// The first Vector of a part; with PARTS, where the last one ends.
fn part_start(part: u32) -> u32 {
    return min(part * ((count() + PARTS - 1u) / PARTS), count());
}

