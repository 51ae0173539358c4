package google_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/google"
)

func TestConfigFromEnv_sendsTokensOnlyWhereTheyBelong(t *testing.T) {
	for endpoint, row := range map[string]struct{ problem, tokens bool }{
		"":                                {tokens: true},
		"https://private.example.com":     {tokens: true},
		"http://127.0.0.1:8080":           {},
		"http://[::1]:8080/base":          {},
		"http://localhost:8080":           {},
		"https://127.0.0.1":               {},
		"http://private.example.com":      {problem: true},
		"http://127.0.0.1.example.com":    {problem: true},
		"127.0.0.1:8080":                  {problem: true},
		"ftp://127.0.0.1":                 {problem: true},
		"https://":                        {problem: true},
		"https://a:secret@example.com":    {problem: true},
		"https://example.com?key=secret":  {problem: true},
		"https://secret example.com/%zz/": {problem: true},
	} {
		config, err := google.ConfigFromEnv(func(name string) string {
			return map[string]string{google.EndpointVariable: endpoint}[name]
		}, &http.Client{})
		if (err != nil) != row.problem || (config.Tokens != nil) != row.tokens {
			t.Errorf("endpoint %q: error %v, tokens sent %t; want an error %t, tokens %t", endpoint, err, config.Tokens != nil, row.problem, row.tokens)
		}
		if err != nil && (!strings.Contains(err.Error(), google.EndpointVariable) || strings.Contains(err.Error(), "secret")) {
			t.Errorf("endpoint %q: error %q does not name the variable, or shows its value", endpoint, err)
		}
	}
}
