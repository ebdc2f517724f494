package command

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/iam-relay/iam-relay/relay/webhook"
)

// verifyFlags are the flags of verify.
type verifyFlags struct {
	request, headers, body, secrets string
	tolerance                       time.Duration
	at                              string
	publicKey                       bool
}

func verifyCommand(env *environment) *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check the signature of a captured request",
		Long: `Check the signature of a captured request as a receiver should, offline. It exits with 1 if the
signature is not valid. Secrets are read from a file only: arguments are visible in the
process list.`,
		Example: `  iam-relay verify --request captured.txt --secret-file secret.txt
  iam-relay verify --headers h.txt --body b.json --secret-file secret.txt
  iam-relay verify --secret-file private.txt --public-key`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 { // it may be the secret: it is not repeated
				return &usageError{"verify takes no arguments; the secret is read from --secret-file"}
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error {
			secrets, err := f.readSecrets()
			if err != nil {
				return err
			}
			if f.publicKey {
				return env.printPublicKeys(secrets)
			}
			return env.verify(&f, secrets)
		},
	}
	cmd.Flags().StringVar(&f.request, "request", "", "`FILE` with the whole request")
	cmd.Flags().StringVar(&f.headers, "headers", "", "`FILE` with the request's headers, in lines of the form Name: value")
	cmd.Flags().StringVar(&f.body, "body", "", "`FILE` with the request's body, byte for byte; default: standard input")
	cmd.Flags().StringVar(&f.secrets, "secret-file", "", "`FILE` with secrets or public keys, one per line (required)")
	cmd.Flags().DurationVar(&f.tolerance, "tolerance", 5*time.Minute, "`DURATION` by which the request's timestamp may differ from the current time or --at")
	cmd.Flags().StringVar(&f.at, "at", "", "check as of this `TIME`, in RFC 3339 or Unix seconds, instead of now")
	cmd.Flags().BoolVar(&f.publicKey, "public-key", false, "print the public keys of the file's whsk_ secrets, and verify nothing")
	env.jsonFlag(cmd, "print JSON")
	return cmd
}

// verification is the result of verify. Indexes count from 1.
type verification struct {
	Valid     bool       `json:"valid"`
	Reason    string     `json:"reason,omitempty"` // why it is not valid
	ID        string     `json:"id,omitempty"`
	Sent      *time.Time `json:"sent,omitempty"`
	Scheme    string     `json:"scheme,omitempty"`    // of the signature that matches, valid or not in time
	Signature int        `json:"signature,omitempty"` // its index in the header
	Secret    int        `json:"secret,omitempty"`    // the index of its secret in the file
}

func (env *environment) verify(f *verifyFlags, secrets []webhook.Secret) error {
	now, err := f.time()
	if err != nil {
		return err
	}
	if f.tolerance < 0 {
		return &usageError{"--tolerance must not be negative"}
	}
	header, body, err := f.read()
	if err != nil {
		return err
	}
	v, err := webhook.Verify(secrets, header, body, now, f.tolerance)
	if err != nil {
		err = fmt.Errorf("not valid: %w", err)
	}
	if !env.json {
		if err == nil {
			fmt.Fprintf(env.out, "valid: %s signature %d matches secret %d; id %s, sent %s\n",
				v.Scheme, v.Signature+1, v.Secret+1, v.ID, v.Sent.UTC().Format(time.RFC3339))
		}
		return err
	}
	result := verification{Valid: err == nil}
	if err != nil {
		result.Reason = errors.Unwrap(err).Error()
	}
	if v.Scheme != "" {
		sent := v.Sent.UTC()
		result.ID, result.Sent, result.Scheme, result.Signature, result.Secret = v.ID, &sent, v.Scheme, v.Signature+1, v.Secret+1
	}
	return errors.Join(writeObject(env.out, result), err)
}

func (env *environment) printPublicKeys(secrets []webhook.Secret) error {
	var keys []string
	for _, s := range secrets {
		if !strings.HasPrefix(string(s), "whsk_") {
			continue
		}
		key, err := webhook.PublicKey(s)
		if err != nil {
			return &usageError{err.Error()}
		}
		keys = append(keys, key)
	}
	if keys == nil {
		return &usageError{"no secret in the file begins with whsk_: the others have no public key"}
	}
	if env.json {
		return writeObject(env.out, keys)
	}
	for _, key := range keys {
		fmt.Fprintln(env.out, key)
	}
	return nil
}

func (f *verifyFlags) readSecrets() ([]webhook.Secret, error) {
	if f.secrets == "" {
		return nil, &usageError{"no secret given: name its file with --secret-file"}
	}
	text, err := os.ReadFile(f.secrets)
	if err != nil {
		return nil, &usageError{fmt.Sprintf("read the secrets: %s", err)}
	}
	var secrets []webhook.Secret
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			continue
		}
		secret := webhook.Secret(line)
		if err := webhook.CheckVerifier(secret); err != nil {
			return nil, &usageError{fmt.Sprintf("%s, secret %d: %s", f.secrets, len(secrets)+1, err)}
		}
		secrets = append(secrets, secret)
	}
	if len(secrets) == 0 {
		return nil, &usageError{f.secrets + " is empty"}
	}
	return secrets, nil
}

func (f *verifyFlags) time() (time.Time, error) {
	if f.at == "" {
		return time.Now(), nil
	}
	if seconds, err := strconv.ParseInt(f.at, 10, 64); err == nil {
		return time.Unix(seconds, 0), nil
	}
	at, err := time.Parse(time.RFC3339, f.at)
	if err != nil {
		return time.Time{}, &usageError{"--at must be a time such as 2026-11-25T10:30:00Z, or Unix seconds"}
	}
	return at, nil
}

// read returns the captured headers and body.
func (f *verifyFlags) read() (http.Header, []byte, error) {
	switch {
	case f.request != "" && (f.headers != "" || f.body != ""):
		return nil, nil, &usageError{"give either --request or --headers and --body"}
	case f.request != "":
		return readRequest(f.request)
	case f.headers == "":
		return nil, nil, &usageError{"no request given: name it with --request, or with --headers and --body"}
	}
	text, err := os.ReadFile(f.headers)
	if err != nil {
		return nil, nil, &usageError{fmt.Sprintf("read the headers: %s", err)}
	}
	header, err := parseHeaders(string(text))
	if err != nil {
		return nil, nil, &usageError{fmt.Sprintf("%s: %s", f.headers, err)}
	}
	if cmp.Or(f.body, "-") == "-" {
		body, err := io.ReadAll(os.Stdin)
		if err != nil {
			return nil, nil, fmt.Errorf("read the body: %w", err)
		}
		return header, body, nil
	}
	body, err := os.ReadFile(f.body)
	if err != nil {
		return nil, nil, &usageError{fmt.Sprintf("read the body: %s", err)}
	}
	return header, body, nil
}
