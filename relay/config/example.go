package config

import _ "embed"

// Example is a configuration file with every option, its default and what it means. It is the same as
// config.example.toml in the repository's root.
//
//go:embed example.toml
var Example string
