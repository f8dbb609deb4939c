// The power spectrum of one frame per workgroup, written as it is (BANDS = 0) or through a sparse filter bank; see
// src/ops/spectrum.rs.
//
// A real frame of N_FFT = 2 M samples goes through a complex Fourier transform of length M, its even samples as real and
// its odd ones as imaginary parts. Decimation in time, in place, on bit-reversed input; two radix-2 stages at a time, so that
// there are half as many barriers.

override N_FFT: u32;
override M: u32;
override LOG2_M: u32;
override HOP: u32;
override PAD: u32;
override SAMPLES: u32;
override FRAMES: u32;
override ROWS: u32;
override BANDS: u32;
// Whether the greatest band of each frame goes to `maxima`.
override MAXIMA: u32;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> window: array<vec2<f32>>;
// exp(-2 pi i k / N_FFT) for k below M
@group(0) @binding(2) var<storage, read> twiddle: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> first_bin: array<u32>;
@group(0) @binding(4) var<storage, read> offset: array<u32>;
@group(0) @binding(5) var<storage, read> weight: array<f32>;
@group(0) @binding(6) var<storage, read_write> y: array<f32>;
@group(0) @binding(7) var<storage, read_write> maxima: array<f32>;

var<workgroup> z: array<vec2<f32>, M>;

fn times(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
    return vec2(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x);
}

// Sample t of a row, reflected at both ends.
fn sample(row: u32, t: i32) -> f32 {
    var at = abs(t);
    let last = i32(SAMPLES) - 1;
    at = select(at, 2 * last - at, at > last);
    return x[row * SAMPLES + u32(at)];
}

// The greater one; a NaN stays.
fn greater(a: f32, b: f32) -> f32 {
    return select(b, a, a >= b || is_nan(a));
}

// The power of bin k, after `untangle`.
fn power(k: u32) -> f32 {
    if (k == M) {
        return z[0].y;
    }
    return z[k].x;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group.y * groups.x + group.x;
    if (number >= ROWS * FRAMES) {
        return;
    }
    let row = number / FRAMES;
    let frame = number % FRAMES;

    let start = i32(frame * HOP) - i32(PAD);
    for (var j = lane; j < M; j += 64u) {
        let t = start + i32(2u * j);
        z[reverseBits(j) >> (32u - LOG2_M)] = vec2(sample(row, t), sample(row, t + 1)) * window[j];
    }
    var h = 1u;
    if (LOG2_M % 2u == 1u) {
        workgroupBarrier();
        for (var i = lane; i < M / 2u; i += 64u) {
            let a = z[2u * i];
            let b = z[2u * i + 1u];
            z[2u * i] = a + b;
            z[2u * i + 1u] = a - b;
        }
        h = 2u;
    }
    for (; h < M; h *= 4u) {
        workgroupBarrier();
        let step = N_FFT / (4u * h);
        for (var q = lane; q < M / 4u; q += 64u) {
            let j = q % h;
            let i = (q - j) * 4u + j;
            let w1 = twiddle[2u * j * step];
            let w2 = twiddle[j * step];
            let a = z[i];
            let b = times(z[i + h], w1);
            let c = z[i + 2u * h];
            let d = times(z[i + 3u * h], w1);
            let ab = a + b;
            let cd = times(c + d, w2);
            let a_b = a - b;
            let t = times(c - d, w2);
            let c_d = vec2(t.y, -t.x);
            z[i] = ab + cd;
            z[i + h] = a_b + c_d;
            z[i + 2u * h] = ab - cd;
            z[i + 3u * h] = a_b - c_d;
        }
    }
    workgroupBarrier();

    // From the transform of the packed frame to the powers of bins k and M - k, which take the places of the two values that
    // they come from; bin M goes beside bin 0.
    for (var k = lane; k <= M / 2u; k += 64u) {
        if (k == 0u) {
            let v = z[0];
            z[0] = vec2((v.x + v.y) * (v.x + v.y), (v.x - v.y) * (v.x - v.y));
        } else {
            let a = z[k];
            let b = z[M - k] * vec2(1.0, -1.0);
            let even = 0.5 * (a + b);
            let d = 0.5 * (a - b);
            let odd = times(vec2(d.y, -d.x), twiddle[k]);
            let low = even + odd;
            let high = even - odd;
            z[M - k].x = dot(high, high);
            z[k].x = dot(low, low);
        }
    }
    workgroupBarrier();

    if (BANDS == 0u) {
        for (var k = lane; k <= M; k += 64u) {
            y[number * (M + 1u) + k] = power(k);
        }
    } else {
        var most = -3.4e38;
        for (var band = lane; band < BANDS; band += 64u) {
            let first = first_bin[band];
            let begin = offset[band];
            let end = offset[band + 1u];
            var sum = 0.0;
            for (var w = begin; w < end; w++) {
                sum += weight[w] * power(first + w - begin);
            }
            y[(row * BANDS + band) * FRAMES + frame] = sum;
            most = greater(most, sum);
        }
        if (MAXIMA == 1u) {
            workgroupBarrier();
            z[lane].x = most;
            for (var half = 32u; half > 0u; half /= 2u) {
                workgroupBarrier();
                if (lane < half) {
                    z[lane].x = greater(z[lane].x, z[lane + half].x);
                }
            }
            if (lane == 0u) {
                maxima[number] = z[0].x;
            }
        }
    }
}
