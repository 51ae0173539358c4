package simulator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
)

// answer is a complete response, so that it can be written without holding the world.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func newAnswer(status int, contentType string, body []byte) answer {
	return answer{status, http.Header{"Content-Type": {contentType}}, body}
}

// write sends the answer. A failure can only mean that the caller is gone.
func (a answer) write(rw http.ResponseWriter) {
	for name, values := range a.header {
		rw.Header()[name] = values
	}
	rw.WriteHeader(a.status)
	_, _ = rw.Write(a.body)
}

// toJSON encodes what the simulator itself put together, which cannot fail.
func toJSON(v any) []byte {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		panic(fmt.Errorf("encode %T: %w", v, err))
	}
	return bytes.TrimSuffix(buffer.Bytes(), []byte("\n"))
}
