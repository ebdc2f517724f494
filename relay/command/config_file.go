package command

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/iam-relay/iam-relay/mapping"
	"github.com/iam-relay/iam-relay/relay"
	"github.com/iam-relay/iam-relay/relay/config"
)

const (
	// configVariable names the configuration file where --config does not.
	configVariable = "IAM_RELAY_CONFIG"
	localConfig    = "config.toml"
	systemConfig   = "/etc/iam-relay/config.toml" // where packages put it
)

// configPath is the file that --config or the environment names, or the first that exists of the usual ones.
func (env *environment) configPath() (string, error) {
	if env.hasConfigFile {
		return env.configFile, nil
	}
	for _, variable := range env.environ {
		if path, ok := strings.CutPrefix(variable, configVariable+"="); ok && path != "" {
			return path, nil
		}
	}
	for _, path := range []string{localConfig, systemConfig} {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return path, nil // one that cannot be read is reported when it is read
		}
	}
	return "", &usageError{"no configuration: neither " + localConfig + " nor " + systemConfig + " exists; write one with iam-relay init, or name it with --config or " + configVariable}
}

// loadConfig reads the configuration.
func (env *environment) loadConfig() (*config.Config, error) {
	path, err := env.configPath()
	if err != nil {
		return nil, err
	}
	return config.Load(path, env.environ)
}

// loadRules reads the configuration and the mapping that it names.
func (env *environment) loadRules() (*config.Config, *mapping.Rules, error) {
	cfg, err := env.loadConfig()
	if err != nil {
		return nil, nil, err
	}
	rules, err := relay.Rules(cfg)
	if err != nil {
		return nil, nil, err
	}
	if err := relay.KnownEvents(cfg, rules); err != nil {
		return nil, nil, err
	}
	return cfg, rules, nil
}
