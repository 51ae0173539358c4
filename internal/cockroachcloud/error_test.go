package cockroachcloud

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

func TestAnErrorSaysWhatAPersonOnCallNeeds(t *testing.T) {
	get := "GET /api/v1/clusters/" + clusterID + "/cmek: "
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		want   string
		is     error
	}{
		"404 with the gRPC code": {
			answering(404, `{"code":5,"message":"internal call failed: cluster 'x' not found","details":[]}`, "Content-Type: application/json"),
			get + "404 Not Found: internal call failed: cluster 'x' not found (gRPC code 5); it does not exist, or the API key's service account may not see it",
			cmek.ErrNotFound,
		},
		"401": {
			answering(401, `{"code":16,"message":"expired"}`),
			get + "401 Unauthorized: expired (gRPC code 16); check that the API key is right and was not deleted",
			cmek.ErrDenied,
		},
		"403 without a body": {
			answering(403, ``),
			get + "403 Forbidden; check the roles of the API key's service account",
			cmek.ErrDenied,
		},
		"503 with Retry-After": {
			answering(503, `{"code":14,"message":"not ready"}`, "Retry-After: 5"),
			get + "503 Service Unavailable: not ready (gRPC code 14); retry after 5s",
			nil,
		},
		"429 in plain text": {
			answering(429, "rate limit exceeded\n", "Retry-After: 90", "Content-Type: text/plain"),
			get + "429 Too Many Requests: rate limit exceeded; retry after 1m0s",
			nil,
		},
		"403 that is a rate limit": {
			answering(403, `{"code":8,"message":"rate limit exceeded"}`, "Retry-After: 2"),
			get + "403 Forbidden: rate limit exceeded (gRPC code 8); retry after 2s",
			nil,
		},
		"404 of a proxy": {
			answering(404, "<html><h1>Not Found</h1></html>"),
			get + "404 Not Found: Not Found; the answer is not the API's, check the server's address and what is between",
			nil,
		},
		"404 of another API": {
			answering(404, `{"code":404,"message":"no route"}`),
			get + "404 Not Found: no route; the answer is not the API's",
			nil,
		},
		"HTML of a proxy": {
			answering(502, "<!DOCTYPE html>\n<html><head><style>h1 {color: red}</style><title>Oops</title></head>\n<body><h1>502 Bad\tGateway</h1></body></html>"),
			get + "502 Bad Gateway: Oops 502 Bad Gateway",
			nil,
		},
		"JSON of another form":       {answering(500, `{"error":"boom"}`), get + `500 Internal Server Error: {"error":"boom"}`, nil},
		"JSON with an odd code":      {answering(500, `{"code":"13","message":"boom"}`), get + `500 Internal Server Error: boom`, nil},
		"status without a name":      {answering(599, ``), get + "599", nil},
		"control characters":         {answering(400, "a\x00\x1b[31mb\r\nc\u202ed\xff"), get + "400 Bad Request: a [31mb c d", nil},
		"redirect":                   {answering(302, ``, "Location: https://example.com"), get + "302 Found; redirects are not followed, check the server's address", nil},
		"200 that is not JSON":       {answering(200, `<html>`), get + "200 OK: decode body: invalid character '<' looking for beginning of value", nil},
		"200 with a field too odd":   {answering(200, `{"status":7}`), get + "200 OK: decode body: json: cannot unmarshal number into", nil},
		"200 that is empty":          {answering(200, " \n"), get + "200 OK: the body is empty", nil},
		"200 with an error inside":   {answering(200, `{"code":14,"message":"upstream unavailable"}`), get + "200 OK: the body is an error: upstream unavailable (gRPC code 14)", nil},
		"200 that lacks a field":     {answering(200, `{"region_infos":[{}]}`), get + `200 OK: incomplete answer: status is missing, in {"region_infos":[{}]}`, cmek.ErrIncomplete},
		"200 larger than its bounds": {answering(200, strings.Repeat(" ", maxBody+1)), get + "200 OK: read body: larger than 8 MiB", nil},
	} {
		_, err := newClient(t, inProcess(tt.answer)).CMEK(t.Context(), clusterID)
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: error is\n%v, want\n%s", name, err, tt.want)
		}
		if tt.is != nil && !errors.Is(err, tt.is) {
			t.Errorf("%s: %v is not %q", name, err, tt.is)
		}
		for _, other := range []error{cmek.ErrNotFound, cmek.ErrDenied, cmek.ErrIncomplete} {
			if !errors.Is(other, tt.is) && errors.Is(err, other) {
				t.Errorf("%s: %v must not be %q", name, err, other)
			}
		}
	}
}

func TestALongMessageIsCut(t *testing.T) {
	_, err := newClient(t, inProcess(answering(500, strings.Repeat("ü", maxErrorBody)))).Organization(t.Context())
	if len(err.Error()) > 400 || !strings.HasSuffix(err.Error(), "ü…") {
		t.Errorf("error has %d bytes, want a whole message of at most 400: %v", len(err.Error()), err)
	}
}

func TestTheFieldsOfAnErrorAreTheServersAnswer(t *testing.T) {
	_, err := newClient(t, inProcess(answering(503, `{"code":14,"message":"locked"}`, "Retry-After: 5"))).Organization(t.Context())
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("error %v is not an *Error", err)
	}
	if e.Method != http.MethodGet || e.Path != "/api/v1/organization" || e.HTTPStatus != 503 || e.Code != 14 || e.Message != "locked" || e.RetryAfter != 5*time.Second {
		t.Errorf("fields are %+v", e)
	}
}

func TestATransportErrorKeepsItsCause(t *testing.T) {
	broken := errors.New("cable cut")
	client := newClient(t, &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) { return nil, broken })})
	_, err := client.Organization(t.Context())
	if !errors.Is(err, broken) || err.Error() != "GET /api/v1/organization: cable cut" {
		t.Errorf("error is %v, want the call and its cause, each once", err)
	}
}

// Servers, proxies and transports may repeat what they were sent.
func TestNoErrorOrAnswerShowsAKey(t *testing.T) {
	const oddKey = "no-usual-form-of-a-key"
	otherKey := strings.Replace(testKey, "a", "Z", 3)
	for _, key := range []string{testKey, oddKey} {
		echo := "you sent Bearer " + key + " and before " + otherKey
		clients := []*http.Client{
			inProcess(answering(200, echo)),
			inProcess(answering(401, `{"code":16,"message":"`+echo+`"}`)),
			inProcess(answering(403, `{"error":"`+echo+`"}`)),
			inProcess(answering(429, echo)),
			inProcess(answering(502, "<html>"+echo+"</html>")),
			{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				return nil, fmt.Errorf("malformed HTTP response %q", r.Header)
			})},
			{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: http.StatusOK, Body: brokenBody{echo}}, nil
			})},
		}
		for i, httpClient := range clients {
			client := newClient(t, httpClient, func(o *Options) { o.APIKey = StaticAPIKey(key) })
			var texts []string
			for name, read := range reads {
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				err := read(ctx, client)
				cancel()
				for ; err != nil; err = errors.Unwrap(err) {
					texts = append(texts, fmt.Sprintf("%s: %v %+v %#v", name, err, err, err))
				}
			}
			for name, write := range writes {
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				texts = append(texts, fmt.Sprintf("%s: %+v", name, write(ctx, client)))
				cancel()
			}
			texts = append(texts, fmt.Sprintf("%+v %#v", client, client))
			for _, text := range texts {
				if strings.Contains(text, key) || strings.Contains(text, otherKey) {
					t.Errorf("server %d: a key is shown by %s", i, text)
				}
			}
		}
	}
}

type brokenBody struct{ text string }

func (b brokenBody) Read([]byte) (int, error) { return 0, errors.New(b.text) }
func (brokenBody) Close() error               { return nil }
