// Command googlehello is the bare function on Google Cloud that a cold start is compared with.
package main

import (
	"io"
	"log"
	"net/http"
	"os"

	"github.com/GoogleCloudPlatform/functions-framework-go/funcframework"
	"github.com/GoogleCloudPlatform/functions-framework-go/functions"
)

func main() {
	functions.HTTP("Hello", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
	log.Fatal(funcframework.StartHostPort("127.0.0.1", os.Getenv("PORT")))
}
