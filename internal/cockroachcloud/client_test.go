package cockroachcloud

import (
	"math"
	"strings"
	"testing"
)

func TestFromEnvNamesEachProblem(t *testing.T) {
	for name, tt := range map[string]struct {
		env  map[string]string
		want []string
	}{
		"nothing set":     {map[string]string{}, []string{"COCKROACH_API_KEY: the API key is empty"}},
		"both wrong":      {map[string]string{EnvAPIKey: "a b", EnvServer: "example.com"}, []string{"COCKROACH_API_KEY: ", "COCKROACH_SERVER: the server is not of the form https://HOST"}},
		"plain http":      {map[string]string{EnvAPIKey: "k", EnvServer: "http://example.com"}, []string{"COCKROACH_SERVER: ", "loopback only"}},
		"key in the URL":  {map[string]string{EnvAPIKey: "k", EnvServer: "https://user:hunter2@example.com"}, []string{"COCKROACH_SERVER: "}},
		"not a URL":       {map[string]string{EnvAPIKey: "k", EnvServer: "https://hunter2:%zz"}, []string{"COCKROACH_SERVER: the server is not a URL"}},
		"query":           {map[string]string{EnvAPIKey: "k", EnvServer: "https://example.com?a=hunter2"}, []string{"COCKROACH_SERVER: "}},
		"key only":        {map[string]string{EnvAPIKey: " k\n"}, nil},
		"loopback name":   {map[string]string{EnvAPIKey: "k", EnvServer: "http://localhost:8080/"}, nil},
		"loopback IPv6":   {map[string]string{EnvAPIKey: "k", EnvServer: "http://[::1]:8080"}, nil},
		"loopback IPv4":   {map[string]string{EnvAPIKey: "k", EnvServer: "http://127.0.0.1:8080"}, nil},
		"path of a proxy": {map[string]string{EnvAPIKey: "k", EnvServer: "https://example.com/cockroach/"}, nil},
	} {
		options, err := FromEnv(func(name string) string { return tt.env[name] })
		if (err != nil) != (tt.want != nil) {
			t.Errorf("%s: error is %v, want %q", name, err, tt.want)
		}
		for _, want := range tt.want {
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s: error is %v, want one with %q and no secret", name, err, want)
			}
		}
		if err == nil {
			if _, err := New(options); err != nil {
				t.Errorf("%s: New: %v", name, err)
			}
		}
	}
}

func TestNewNamesEachWrongOption(t *testing.T) {
	_, err := New(Options{Server: "ftp://example.com", Rate: math.NaN(), Timeout: -1, MaxReadAttempts: -1})
	for _, want := range []string{"server", "API key source", "rate NaN", "timeout -1ns", "read attempts -1"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want it to name the %s", err, want)
		}
	}
}

func TestTheDefaultUserAgentNamesTheProduct(t *testing.T) {
	got := defaultUserAgent()
	if !strings.HasPrefix(got, "keyturn/") || !strings.HasSuffix(got, " (+https://github.com/keyturn/keyturn)") {
		t.Errorf("user agent is %q", got)
	}
}
