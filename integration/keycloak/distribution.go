package keycloak

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

//go:embed distributions.txt
var distributionsText string

// distribution is a released server, which the package trusts by its checksum alone.
type distribution struct{ version, sha256 string }

var distributions = readDistributions(distributionsText)

func readDistributions(text string) (all []distribution) {
	for line := range strings.Lines(text) {
		if words := strings.Fields(line); len(words) == 2 {
			all = append(all, distribution{version: words[0], sha256: words[1]})
		}
	}
	return all
}

// Versions are the versions of Keycloak that can be had, the oldest first.
func Versions() (versions []string) {
	for _, d := range distributions {
		versions = append(versions, d.version)
	}
	return versions
}

// ErrNoTools says that the machine lacks what gets and runs Keycloak.
var ErrNoTools = errors.New("no Java or no Maven found, which Keycloak needs: run `.ci/prepare java`, or install Java 17 or newer and Maven (Debian and Ubuntu: apt-get install default-jre-headless maven)")

// FindTools reports ErrNoTools where java or mvn is missing.
func FindTools() error {
	for _, program := range []string{"java", "mvn"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%w: %w", ErrNoTools, err)
		}
	}
	return nil
}

// buildOptions are the choices that Keycloak compiles into itself: https://www.keycloak.org/server/configuration.
var buildOptions = []string{"build", "--db=postgres", "--health-enabled=true"}

// Install returns the home directory of a version that is ready for `start --optimized`. It comes from Maven Central, as
// Maven is configured here, and stays in the user's cache directory. The output of the programs that it runs goes to log.
func Install(ctx context.Context, version string, log io.Writer) (home string, err error) {
	i := slices.IndexFunc(distributions, func(d distribution) bool { return d.version == version })
	if i < 0 {
		return "", fmt.Errorf("install Keycloak %s: only %s can be had; add its checksum to distributions.txt", version, strings.Join(Versions(), ", "))
	}
	if err := FindTools(); err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("install Keycloak %s: %w", version, err)
	}
	d := distributions[i]
	// The directory appears only when it is complete, so its being there is enough.
	home = filepath.Join(cache, "iam-relay", fmt.Sprintf("keycloak-%s-%.8s", d.version, d.sha256))
	if _, err := os.Stat(home); err == nil {
		return home, nil
	}
	if err := d.installIn(ctx, home, log); err != nil {
		return "", fmt.Errorf("install Keycloak %s: %w", version, err)
	}
	return home, nil
}

func (d distribution) installIn(ctx context.Context, home string, log io.Writer) error {
	if err := os.MkdirAll(filepath.Dir(home), 0o755); err != nil {
		return err
	}
	temporary, err := os.MkdirTemp(filepath.Dir(home), "new-keycloak-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temporary)
	archive, err := d.download(ctx, temporary, log)
	if err != nil {
		return err
	}
	if err := unpack(archive, temporary); err != nil {
		return fmt.Errorf("unpack %s: %w", archive, err)
	}
	unpacked := filepath.Join(temporary, "keycloak-"+d.version)
	if err := run(ctx, log, filepath.Join(unpacked, "bin", "kc.sh"), buildOptions...); err != nil {
		return err
	}
	if err := os.Rename(unpacked, home); err != nil {
		if _, missing := os.Stat(home); missing != nil {
			return err
		} // else another process was quicker
	}
	return nil
}

// download copies the archive into a directory with Maven, which knows the machine's proxies and mirrors, and checks it.
func (d distribution) download(ctx context.Context, directory string, log io.Writer) (string, error) {
	err := run(ctx, log, "mvn", "--batch-mode", "--quiet", "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy",
		"-Dartifact=org.keycloak:keycloak-quarkus-dist:"+d.version+":tar.gz", "-DoutputDirectory="+directory)
	if err != nil {
		return "", err
	}
	archive := filepath.Join(directory, "keycloak-quarkus-dist-"+d.version+".tar.gz")
	file, err := os.Open(archive)
	if err != nil {
		return "", err
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return "", err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != d.sha256 {
		return "", fmt.Errorf("the archive's SHA-256 is %s, not the pinned %s: remove it from Maven's local repository and try again", got, d.sha256)
	}
	return archive, nil
}

func run(ctx context.Context, log io.Writer, program string, arguments ...string) error {
	cmd := exec.CommandContext(ctx, program, arguments...)
	cmd.Stdout, cmd.Stderr = log, log
	err := cmd.Run()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", filepath.Base(program), arguments[0], err)
	}
	return nil
}

// unpack writes the archive's files and directories; it holds nothing else.
func unpack(archive, directory string) (err error) {
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer file.Close()
	compressed, err := gzip.NewReader(file)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(directory)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	for files := tar.NewReader(compressed); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := unpackOne(root, header, files); err != nil {
			return fmt.Errorf("%s: %w", header.Name, err)
		}
	}
}

func unpackOne(root *os.Root, header *tar.Header, content io.Reader) error {
	switch header.Typeflag {
	case tar.TypeDir:
		return root.MkdirAll(filepath.Clean(header.Name), 0o755)
	case tar.TypeReg:
		if err := root.MkdirAll(filepath.Dir(header.Name), 0o755); err != nil {
			return err
		}
		file, err := root.OpenFile(header.Name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, header.FileInfo().Mode().Perm())
		if err != nil {
			return err
		}
		_, err = io.Copy(file, content)
		return errors.Join(err, file.Close())
	default:
		return fmt.Errorf("unexpected type %q of an entry", header.Typeflag)
	}
}
