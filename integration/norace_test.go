//go:build !race

package integration_test

const raceBuild = false
