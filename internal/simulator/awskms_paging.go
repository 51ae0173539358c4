package simulator

import (
	"encoding/base64"
	"strconv"
)

// kmsPage cuts out what Limit and Marker ask for.
func kmsPage[T any](c *kmsCall, all []T, usual, most int) (page []T, next string, failed *kmsError) {
	limit := usual
	if c.input.Limit != nil {
		limit = *c.input.Limit
	}
	if limit < 1 || limit > most {
		return nil, "", outOfRange("limit", limit, 1, most)
	}
	from := 0
	if c.input.Marker != "" {
		decoded, err := base64.RawURLEncoding.DecodeString(c.input.Marker)
		if from, err = atoi(string(decoded), err); err != nil || from < 0 || from > len(all) {
			return nil, "", refused("InvalidMarkerException", "The marker is invalid.")
		}
	}
	to := min(from+limit, len(all))
	if to < len(all) {
		next = base64.RawURLEncoding.EncodeToString([]byte(strconv.Itoa(to)))
	}
	return all[from:to], next, nil
}

// atoi is strconv.Atoi after a step that may have failed.
func atoi(s string, err error) (int, error) {
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(s)
}
