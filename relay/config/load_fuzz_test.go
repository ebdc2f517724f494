package config

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// FuzzLoad checks that Load never panics and returns either a configuration or an *Error, the same on every call.
func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"testdata/invalid/*.toml", "testdata/valid/*.toml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			source, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(source, "", "")
		}
	}
	f.Add([]byte(Example), "SOURCE__URL", "postgres://relay@127.0.0.1/iam")
	f.Add([]byte(Example), "DELIVERY__QUEUE", "-1")
	f.Add([]byte("[[webhook]]\nname = \"a\""), "WEBHOOK__0__URL", "https://example.com")
	path := filepath.Join(f.TempDir(), "config.toml")
	f.Fuzz(func(t *testing.T, source []byte, option, value string) {
		if err := os.WriteFile(path, source, 0o600); err != nil {
			t.Fatal(err)
		}
		environ := []string{"IAM_RELAY__" + option + "=" + value}
		first, err := Load(path, environ)
		second, secondErr := Load(path, environ)
		if _, ok := errors.AsType[*Error](err); (first == nil) != ok {
			t.Fatalf("Load = %v, %v", first, err)
		}
		if (err == nil) != (secondErr == nil) || (err != nil && err.Error() != secondErr.Error()) {
			t.Errorf("second call: %v; first call: %v", secondErr, err)
		}
		if diff := cmp.Diff(first, second, cmpopts.IgnoreUnexported(Config{}), cmpopts.EquateComparable()); diff != "" {
			t.Errorf("(-first +second):\n%s", diff)
		}
	})
}
