package kmsmodel

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/amazon"
	"github.com/keyturn/keyturn/internal/cmek"
	"github.com/keyturn/keyturn/internal/simulator"
)

// sent keeps the bodies of requests, and answers as STS and Security Hub do.
type sent struct{ body []byte }

func (s *sent) RoundTrip(r *http.Request) (*http.Response, error) {
	answer := `<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:iam::111122223333:user/jo</Arn><Account>111122223333</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`
	if r.URL.Path == "/findings/import" {
		var err error
		if s.body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		answer = `{"FailedCount":0,"SuccessCount":1}`
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(answer)), Request: r}, nil
}

func configOver(t *testing.T, transport http.RoundTripper) amazon.Config {
	t.Helper()
	environment := map[string]string{"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_ENDPOINT_URL": "http://aws.test"}
	config, err := amazon.ConfigFromEnv(func(name string) string { return environment[name] }, &http.Client{Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// What is reported to Security Hub has the members that botocore knows, all that it requires, and no word that is none of an enumeration.
func TestFindings_are_as_botocore_describes_them(t *testing.T) {
	m := readModel[model](t, "securityhub/2018-10-26/service-2.json")
	for _, f := range []cmek.SecurityFinding{{Failed: true, Recommendation: "x", Requirements: []string{"PCI DSS 4.0/3.7.4"}}, {Gone: true}, {}} {
		f.ID, f.Check, f.Title, f.Description, f.Severity, f.Resource = "keyturn/CMEK-08/k", "CMEK-08", "t", "d", "medium", "arn:aws:kms:us-east-1:111122223333:key/1"
		f.Since, f.Updated = time.Now(), time.Now()
		s := &sent{}
		if _, err := amazon.NewSecurityHub(configOver(t, s)).Import(t.Context(), []cmek.SecurityFinding{f}); err != nil {
			t.Fatal(err)
		}
		var body map[string]any
		if err := json.Unmarshal(s.body, &body); err != nil {
			t.Fatal(err)
		}
		if problems := m.problemsIn(m.Operations["BatchImportFindings"].Input.Shape, body, "request"); len(problems) > 0 {
			t.Errorf("%+v: %q", f, problems)
		}
	}
	// The check itself notices what is wrong.
	wrong := map[string]any{"Findings": []any{map[string]any{"Id": "x", "RecordState": "GONE", "Color": "red"}}}
	if problems := m.problemsIn(m.Operations["BatchImportFindings"].Input.Shape, wrong, "request"); len(problems) < 10 {
		t.Errorf("%q", problems)
	}
}

// moto_server does not know LookupEvents, so botocore's model says whether the simulator answers as AWS does.
func TestEventHistory_is_as_botocore_describes_it(t *testing.T) {
	m := readModel[model](t, "cloudtrail/2013-11-01/service-2.json")
	world, err := simulator.New(simulator.DefaultSeed())
	if err != nil {
		t.Fatal(err)
	}
	if err := world.Set(simulator.CloudTrailLookup, "0s"); err != nil {
		t.Fatal(err)
	}
	if err := world.Use("payments", "us-east-1", "Decrypt", ""); err != nil {
		t.Fatal(err)
	}
	recorder := &recorder{next: simulator.Transport(world.Handler())}
	uses, err := amazon.NewUseLog(configOver(t, recorder), nil).RecordedUses(t.Context(), world.StoreKeys()[slices.IndexFunc(world.StoreKeys(), func(k simulator.StoreKey) bool {
		return k.Cluster == "payments"
	})].URI, time.Now().Add(-time.Hour))
	if err != nil || len(uses.Uses) != 1 {
		t.Fatalf("%+v, %v", uses, err)
	}
	for shape, data := range map[string][]byte{m.Operations["LookupEvents"].Input.Shape: recorder.request, m.Operations["LookupEvents"].Output.Shape: recorder.answer} {
		var body map[string]any
		if err := json.Unmarshal(data, &body); err != nil {
			t.Fatal(err)
		}
		if problems := m.problemsIn(shape, body, shape); len(problems) > 0 {
			t.Errorf("%q", problems)
		}
	}
	known := m.errors("LookupEvents")
	for _, code := range []string{"InvalidMaxResultsException", "InvalidNextTokenException", "InvalidLookupAttributesException", "InvalidTimeRangeException"} {
		if !slices.Contains(known, code) {
			t.Errorf("%s is none of %q", code, known)
		}
	}
}

// recorder keeps the last request and its answer.
type recorder struct {
	next            http.RoundTripper
	request, answer []byte
}

func (r *recorder) RoundTrip(request *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return nil, err
	}
	request.Body = io.NopCloser(strings.NewReader(string(body)))
	response, err := r.next.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	r.request = body
	r.answer, err = io.ReadAll(response.Body)
	response.Body = io.NopCloser(strings.NewReader(string(r.answer)))
	return response, err
}

// problemsIn lists what is not as the shape says: unknown members, required ones that are missing, and words that are none of an enumeration.
func (m model) problemsIn(shapeName string, value any, path string) (problems []string) {
	s := m.Shapes[shapeName]
	switch value := value.(type) {
	case map[string]any:
		for _, name := range s.Required {
			if _, ok := value[name]; !ok {
				problems = append(problems, path+" lacks "+name)
			}
		}
		for name, field := range value {
			member, known := s.Members[name]
			switch {
			case s.Type == "map":
			case !known:
				problems = append(problems, path+" has "+name)
			default:
				problems = append(problems, m.problemsIn(member.Shape, field, path+"."+name)...)
			}
		}
	case []any:
		for _, element := range value {
			problems = append(problems, m.problemsIn(s.Member.Shape, element, path)...)
		}
	case string:
		if len(s.Enum) > 0 && !slices.Contains(s.Enum, value) || s.Type != "string" && s.Type != "timestamp" {
			problems = append(problems, path+" is "+value)
		}
	}
	return problems
}
