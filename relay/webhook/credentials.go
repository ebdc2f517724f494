package webhook

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// CredentialsProblem is one thing that is wrong with an endpoint's credentials. It repeats none of them.
type CredentialsProblem struct {
	// Field is the name in the JSON form: ca, client_cert, client_key, bearer, oauth2, oauth2.token_url, …
	Field string
	Text  string
}

func (p CredentialsProblem) Error() string { return p.Field + ": " + p.Text }

// CheckCredentials reports what is wrong with the endpoint's credentials, for a Sender of that configuration. Each problem is a
// CredentialsProblem.
func (e *Endpoint) CheckCredentials(cfg SenderConfig) []CredentialsProblem {
	g, err := newGuard(cfg.AllowNetworks)
	if err != nil {
		return []CredentialsProblem{{"oauth2.token_url", err.Error()}}
	}
	return e.checkCredentials(cfg.AllowHTTP, g)
}

func (e *Endpoint) checkCredentials(allowHTTP bool, g *guard) []CredentialsProblem {
	c := &e.Credentials
	var problems []CredentialsProblem
	add := func(field, text string) { problems = append(problems, CredentialsProblem{field, text}) }
	if c.CA != "" {
		if _, err := certPool(c.CA); err != nil {
			add("ca", err.Error())
		}
	}
	if c.ClientCert != "" || c.ClientKey != "" {
		if _, err := clientCertificate(c.ClientCert, c.ClientKey); err != nil {
			field := "client_cert"
			if _, certErr := certPool(c.ClientCert); c.ClientCert == "" || certErr == nil && c.ClientKey != "" {
				field = "client_key"
			}
			add(field, err.Error())
		}
	}
	if strings.HasPrefix(strings.ToLower(cleanURL(e.URL)), "http://") && (c.CA != "" || c.ClientCert != "") {
		field := "ca"
		if c.CA == "" {
			field = "client_cert"
		}
		add(field, "certificates need a URL that begins with https://")
	}
	ways := 0
	for name := range e.Headers {
		if http.CanonicalHeaderKey(name) == headerAuthorization {
			ways++
		}
	}
	if c.OAuth2 != nil {
		ways++
		problems = append(problems, c.OAuth2.check(allowHTTP, g)...)
		if ways > 1 {
			add("oauth2", "makes the Authorization header, which the endpoint's own headers have already")
		}
	}
	if c.Bearer != "" {
		if ways++; ways > 1 {
			add("bearer", "makes the Authorization header, which comes from the endpoint's own headers or from oauth2 already")
		} else if !isBearerToken(c.Bearer) {
			add("bearer", "has a space, a line break or another character that no token has")
		}
	}
	return problems
}

func (o *OAuth2) check(allowHTTP bool, g *guard) []CredentialsProblem {
	var problems []CredentialsProblem
	if err := checkURL(o.TokenURL, allowHTTP, g); err != nil {
		problems = append(problems, CredentialsProblem{"oauth2.token_url", err.Error()})
	}
	if o.ClientID == "" {
		problems = append(problems, CredentialsProblem{"oauth2.client_id", "is missing"})
	}
	if o.ClientSecret == "" {
		problems = append(problems, CredentialsProblem{"oauth2.client_secret", "is missing"})
	}
	return problems
}

// isBearerToken is wider than RFC 6750, section 2.1: tokens with other printable characters are in use.
func isBearerToken(token string) bool {
	return token != "" && !strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' })
}

// joined makes one error of problems, or nil.
func joined(problems []CredentialsProblem) error {
	errs := make([]error, len(problems))
	for i, p := range problems {
		errs[i] = fmt.Errorf("credentials: %w", p)
	}
	return errors.Join(errs...)
}
