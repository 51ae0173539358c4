package cmektest

import (
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
)

// Proxy is a reverse proxy to the target through the transport, for clients in other processes. An error of the transport, or
// in the body of an answer, is a broken connection to the client and never an answer of the proxy's own.
func Proxy(target *url.URL, through http.RoundTripper) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: through,
		// What there is of a broken answer gets through.
		FlushInterval: -1,
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) {
			panic(http.ErrAbortHandler)
		},
		ErrorLog: log.New(io.Discard, "", 0),
	}
}
