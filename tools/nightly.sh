# Read by tools/miri and tools/sanitize: the compiler that they need, which this installs where it is absent.

NIGHTLY=nightly-2026-10-30

if ! command -v rustup >/dev/null; then
    echo "$0: NOTHING WAS CHECKED: this needs $NIGHTLY of Rust, and there is no rustup here to install it" >&2
    exit 1
fi
if ! { rustup run "$NIGHTLY" cargo miri --version && rustup component list --toolchain "$NIGHTLY" --installed | grep -q rust-src; } >/dev/null 2>&1; then
    echo "$0: installing $NIGHTLY" >&2
    if ! rustup toolchain install "$NIGHTLY" --profile minimal --component miri --component rust-src; then
        echo "$0: NOTHING WAS CHECKED: $NIGHTLY with miri and rust-src could not be installed; see above" >&2
        exit 1
    fi
fi
