package config

import _ "embed"

// Example is a configuration file with every option, its default and its description. It equals config.example.toml in the
// repository's root.
//
//go:embed example.toml
var Example string
