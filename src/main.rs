//! The command `humdinger`; see [`humdinger::cli`].

fn main() -> std::process::ExitCode {
    humdinger::cli::main()
}
