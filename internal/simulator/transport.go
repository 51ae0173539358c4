package simulator

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
)

// Transport calls a handler in the caller's goroutine, without a network: what an http.Client needs under testing/synctest.
// It keeps the contract of [http.RoundTripper] and never changes the request.
func Transport(handler http.Handler) http.RoundTripper { return handlerTransport{handler} }

type handlerTransport struct{ handler http.Handler }

func (t handlerTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	defer closeBody(request)
	if err := request.Context().Err(); err != nil {
		return nil, err
	}
	// A server sees the path only, and always a body.
	served := request.Clone(request.Context())
	served.RequestURI, served.RemoteAddr = request.URL.RequestURI(), "127.0.0.1:1"
	served.Proto, served.ProtoMajor, served.ProtoMinor = "HTTP/1.1", 1, 1
	if served.Body == nil {
		served.Body = http.NoBody
	}
	if served.Host == "" {
		served.Host = request.URL.Host
	}
	r := &responseBuffer{header: http.Header{}}
	t.handler.ServeHTTP(r, served)
	r.WriteHeader(http.StatusOK)
	return newResponse(request, r.status, r.sent, r.body.Bytes()), nil
}

func newResponse(request *http.Request, status int, header http.Header, body []byte) *http.Response {
	return &http.Response{
		Status: strconv.Itoa(status) + " " + http.StatusText(status), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)), Request: request,
	}
}

// responseBuffer is an http.ResponseWriter that keeps what is written.
type responseBuffer struct {
	status int
	header http.Header
	// sent is the header as it was when the status was written.
	sent http.Header
	body bytes.Buffer
}

func (r *responseBuffer) Header() http.Header { return r.header }

func (r *responseBuffer) WriteHeader(status int) {
	if r.status == 0 {
		r.status, r.sent = status, r.header.Clone()
	}
}

func (r *responseBuffer) Write(data []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(data)
}
