package server

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"strongroom/internal/durable"
)

// The files of the data directory that other programs read.
const (
	CredentialsFile = "credentials"
	EndpointFile    = "endpoint"
)

// AccessKey is an access key of the first account's root user.
type AccessKey struct{ ID, Secret string }

// writeCredentials writes key in AWS's shared-credentials format, mode 0600, durably.
func writeCredentials(path string, key AccessKey) error {
	text := fmt.Sprintf("[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", key.ID, key.Secret)
	return durable.WriteFile(path, []byte(text), 0o600)
}

// ReadCredentials reads profile "default" of a credentials file that a node wrote.
func ReadCredentials(path string) (AccessKey, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return AccessKey{}, fmt.Errorf("%s does not exist: is this the data directory of a node?", path)
	}
	if err != nil {
		return AccessKey{}, err
	}
	var key AccessKey
	profile := ""
	for s := bufio.NewScanner(bytes.NewReader(raw)); s.Scan(); {
		text := strings.TrimSpace(s.Text())
		if strings.HasPrefix(text, "[") {
			profile = strings.Trim(text, "[]")
			continue
		}
		name, value, _ := strings.Cut(text, "=")
		if profile != "default" {
			continue
		}
		switch strings.TrimSpace(name) {
		case "aws_access_key_id":
			key.ID = strings.TrimSpace(value)
		case "aws_secret_access_key":
			key.Secret = strings.TrimSpace(value)
		}
	}
	if key.ID == "" || key.Secret == "" {
		return AccessKey{}, fmt.Errorf("%s holds no access key in profile [default]", path)
	}
	return key, nil
}
