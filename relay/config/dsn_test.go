package config

import (
	"strings"
	"testing"
)

// A URL written for another client is rejected, naming the parameter and not repeating the password.
func TestCheckDSN(t *testing.T) {
	t.Parallel()
	for dsn, want := range map[string]string{
		"postgres://u:sesame@h/d":                                    "",
		"postgres://u:sesame@h/d?sslmode=require&connect_timeout=5":  "",
		"postgres://u:sesame@h/d?application_name=x&search_path=iam": "",
		"postgres://u:sesame@h/d?keepalives=1":                       "has the parameter keepalives",
		"postgres://u:sesame@h/d?gssencmode=disable":                 "has the parameter gssencmode",
		"postgres://u:sesame@h/d?pgbouncer=true":                     "not through a pooler",
		"postgres://u:sesame@h/d?replication=database":               "opens replication connections itself",
		"postgres://u:sesame@h/d?schema=iam":                         "set mapping.schema",
		"host=h user=u password=sesame keepalives_idle=5":            "has the parameter keepalives_idle",
		"jdbc:postgresql://h/d?user=u&password=sesame":               "is a JDBC URL",
		"postgres://u:sesame@h/d?sslmode=sesame":                     "sslmode is one of",
		"postgres://u:ses/ame@h/d":                                   "percent-encode ",
		"postgres://u:x@sesame@h/d":                                  "as %40",
		"postgres://u:x@sesame@h,h2/d":                               "as %40",
		"postgres://u:x@1,sesame@h/d":                                "as %40",
	} {
		ps := &problems{}
		checkDSN(ps, "source.url", DSN(dsn))
		err := ps.err()
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", dsn, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %q", dsn, err, want)
		case err != nil && (strings.Contains(err.Error(), "sesame") || strings.Contains(err.Error(), "ses/ame")):
			t.Errorf("the error contains the password: %v", err)
		}
	}
}
