package amazon_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/alert"
	"github.com/keyturn/keyturn/internal/amazon"
)

func TestConfigFromEnvNamesEveryVariableThatIsMissing(t *testing.T) {
	_, err := amazon.ConfigFromEnv(func(string) string { return "" }, http.DefaultClient)
	for _, name := range []string{"AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("error %v does not name %s", err, name)
		}
	}
}

func TestConfigFromEnvSendsEachServiceToItsOwnEndpoint(t *testing.T) {
	var called []string
	endpoint := func(name string) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			called = append(called, name)
			if strings.Contains(r.Header.Get("Authorization"), "topsecret") {
				t.Error("the secret access key is on the wire")
			}
			if got := r.Header.Get("X-Amz-Security-Token"); got != "session" {
				t.Errorf("%s: session token is %q, want that of the environment", name, got)
			}
			w.WriteHeader(http.StatusBadRequest)
		}))
		t.Cleanup(server.Close)
		return server.URL
	}
	env := map[string]string{
		"AWS_DEFAULT_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "topsecret",
		"AWS_SESSION_TOKEN": "session",
		"AWS_ENDPOINT_URL":  endpoint("everything else"),
	}
	for _, service := range []string{"KMS", "DYNAMODB", "SNS", "S3", "SECRETS_MANAGER"} {
		env["AWS_ENDPOINT_URL_"+service] = endpoint(service)
	}
	getenv := func(name string) string { return env[name] }
	callEach := func() []string {
		called = nil
		config, err := amazon.ConfigFromEnv(getenv, http.DefaultClient)
		if err != nil {
			t.Fatal(err)
		}
		const topic = "arn:aws:sns:eu-central-1:111122223333:alerts"
		notifier, err := amazon.NewNotifier(config, amazon.Topics{Owners: topic, Operations: topic})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = amazon.NewKMS(config, nil).Key(t.Context(), "arn:aws:kms:eu-central-1:111122223333:key/1")
		_, _ = amazon.NewStore(config, "table").Get(t.Context(), "rotation", "c-1")
		_ = notifier.Notify(t.Context(), alert.Alert{})
		_ = amazon.NewArchive(config, "bucket", "").PutIfAbsent(t.Context(), "name", nil)
		_, _ = amazon.NewSecret(config, "name").Value(t.Context())
		return called
	}
	if got, want := callEach(), []string{"KMS", "DYNAMODB", "SNS", "S3", "SECRETS_MANAGER"}; !slices.Equal(got, want) {
		t.Errorf("calls went to %q, want %q", got, want)
	}
	for _, service := range []string{"KMS", "DYNAMODB", "SNS", "S3", "SECRETS_MANAGER"} {
		delete(env, "AWS_ENDPOINT_URL_"+service)
	}
	if got, want := callEach(), slices.Repeat([]string{"everything else"}, 5); !slices.Equal(got, want) {
		t.Errorf("without endpoints of their own, calls went to %q, want %q", got, want)
	}
}
