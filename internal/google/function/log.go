package function

import (
	"io"
	"log/slog"
	"os"
)

// NewLog is the log of a function: one JSON object a line, each with the function's name, under the names that Cloud Logging reads
// (cloud.google.com/logging/docs/structured-logging). So the severity of an alert has another name than that of the line.
func NewLog(function string, level slog.Level) *slog.Logger {
	return newLog(os.Stderr, function, level)
}

func newLog(out io.Writer, function string, level slog.Level) *slog.Logger {
	return slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: level, ReplaceAttr: forCloudLogging})).With("function", function)
}

func forCloudLogging(groups []string, a slog.Attr) slog.Attr {
	if len(groups) > 0 {
		return a
	}
	switch a.Key {
	case slog.LevelKey:
		a.Key = "severity"
		if level, ok := a.Value.Any().(slog.Level); ok && level >= slog.LevelWarn && level < slog.LevelError {
			a.Value = slog.StringValue("WARNING")
		}
	case slog.MessageKey:
		a.Key = "message"
	case "severity":
		a.Key = "alert_severity"
	}
	return a
}
