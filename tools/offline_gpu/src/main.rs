//! Holds the kernels of exported plans (`docs/plan-format.md`) against compilers that this machine's drivers do not use.
//!
//!     offline-gpu translate FOLDER    every kernel through naga to SPIR-V, MSL and HLSL
//!     offline-gpu hlsl FOLDER OUT NAME..  writes them as HLSL into OUT, one file each
//!     offline-gpu table FOLDER NAME.. what the Vulkan driver's compiler says of the kernels of plans whose file name holds NAME

mod driver;
mod kernels;

use kernels::Kernel;
use std::path::Path;
use std::process::ExitCode;

type Result<T> = std::result::Result<T, String>;

fn translate(folder: &Path) -> Result<()> {
    let kernels = kernels::of_plans(folder, "")?;
    let mut failures = 0;
    for kernel in &kernels {
        for (target, outcome) in kernels::targets(kernel) {
            if let Err(error) = outcome {
                failures += 1;
                eprintln!("{} to {target}: {error}\n  with {:?}", kernel.name, kernel.constants);
            }
        }
    }
    if failures > 0 {
        return Err(format!("{failures} translations of {} kernels failed", kernels.len()));
    }
    println!("{} kernels translate to SPIR-V, MSL and HLSL", kernels.len());
    Ok(())
}

fn hlsl(folder: &Path, out: &Path, pattern: &str) -> Result<()> {
    for (number, kernel) in kernels::of_plans(folder, pattern)?.iter().enumerate() {
        let text = kernels::hlsl(kernel).map_err(|error| format!("{}: {error}", kernel.name))?;
        let path = out.join(format!("{pattern}.{}.{number}.hlsl", kernel.name));
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

/// The least and the greatest of some numbers, as a table has them.
fn range(values: impl Iterator<Item = u64> + Clone) -> String {
    let (least, most) = (values.clone().min().unwrap_or(0), values.max().unwrap_or(0));
    if least == most { least.to_string() } else { format!("{least} to {most}") }
}

fn table(folder: &Path, pattern: &str) -> Result<()> {
    let kernels = kernels::of_plans(folder, pattern)?;
    let driver = driver::Driver::new()?;
    println!("\nPlans `{pattern}`; {}\n", driver.name);
    println!(
        "| kernel | variants | VGPR | spilled | workgroup memory | waves a SIMD | inverse throughput | with checks |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let mut names: Vec<&str> = kernels.iter().map(|kernel| kernel.name.as_str()).collect();
    names.dedup();
    for name in names {
        let variants: Vec<&Kernel> = kernels.iter().filter(|kernel| kernel.name == name).collect();
        let report = |checked| -> Result<Vec<driver::Report>> {
            (variants.iter())
                .map(|kernel| {
                    let words = kernels::spirv(kernel, checked)?;
                    driver.compile(&words, kernel.bindings).map_err(|error| format!("{name}: {error}"))
                })
                .collect()
        };
        let (bare, checked) = (report(false)?, report(true)?);
        println!(
            "| {name} | {} | {} | {} | {} | {} | {} | {} |",
            variants.len(),
            range(bare.iter().map(|report| report.registers)),
            range(bare.iter().map(|report| report.spilled)),
            range(bare.iter().map(|report| report.workgroup_memory)),
            range(bare.iter().map(|report| report.waves)),
            range(bare.iter().map(|report| report.inverse_throughput)),
            range(checked.iter().map(|report| report.inverse_throughput)),
        );
    }
    Ok(())
}

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["translate", folder] => translate(Path::new(folder)),
        ["hlsl", folder, out, patterns @ ..] if !patterns.is_empty() => {
            patterns.iter().try_for_each(|pattern| hlsl(Path::new(folder), Path::new(out), pattern))
        }
        ["table", folder, patterns @ ..] if !patterns.is_empty() => {
            patterns.iter().try_for_each(|pattern| table(Path::new(folder), pattern))
        }
        _ => Err("usage: offline-gpu translate FOLDER | offline-gpu table FOLDER NAME..".into()),
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("offline-gpu: {error}");
            ExitCode::FAILURE
        }
    }
}
