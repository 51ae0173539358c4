package config

import (
	"encoding/json"
	"errors"
	"strings"
)

// APIKey takes the Cloud API's key out of a secret's content, which is the key itself or a JSON object with the key as "api_key". The
// content is in no error: those of the JSON decoder quote their input, so they are not passed on.
func APIKey(content string) (string, error) {
	key := strings.TrimSpace(content)
	if strings.HasPrefix(key, "{") {
		var fields struct {
			APIKey string `json:"api_key"`
		}
		if json.Unmarshal([]byte(key), &fields) != nil {
			return "", errors.New("it looks like JSON, but is not an object with a text as api_key")
		}
		key = strings.TrimSpace(fields.APIKey)
	}
	if key == "" {
		return "", errors.New("it holds no API key: want the key itself, or JSON with the key as api_key")
	}
	return key, nil
}
