// Only Cargo.toml matters here.
