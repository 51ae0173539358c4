package config_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/config"
)

type mode string

func (m *mode) UnmarshalText(text []byte) error {
	if string(text) != "on" && string(text) != "off" {
		return fmt.Errorf("%q is neither on nor off", text)
	}
	*m = mode(text)
	return nil
}

type inner struct {
	Wait  time.Duration `env:"TEST_WAIT"`
	Count int           `env:"TEST_COUNT"`
}

func (i inner) Check() []error {
	if i.Count < 0 {
		return []error{fmt.Errorf("TEST_COUNT is %d; want 0 or more", i.Count)}
	}
	return nil
}

type settings struct {
	Mode   mode    `env:"TEST_MODE"`
	Table  string  `env:"TEST_TABLE,required"`
	APIKey int     `env:"TEST_API_KEY"`
	Rate   float64 `env:"TEST_RATE"`
	Sweep  inner
}

func TestLoadKeepsDefaultsOfVariablesThatAreNotSetOrEmpty(t *testing.T) {
	s := settings{Mode: "off", Sweep: inner{Wait: time.Minute, Count: 3}}
	if err := config.Load(&s, []string{"TEST_TABLE= t ", "TEST_WAIT=", "TEST_COUNT=4"}); err != nil {
		t.Fatal(err)
	}
	if s.Mode != "off" || s.Table != "t" || s.Sweep.Wait != time.Minute || s.Sweep.Count != 4 {
		t.Errorf("settings are %+v; want the default mode and wait, table t and count 4", s)
	}
}

func TestLoadReportsEveryProblemAtOnceAndNamesTheVariable(t *testing.T) {
	var s settings
	err := config.Load(&s, []string{"TEST_MODE=maybe", "TEST_WAIT=5 minutes", "TEST_COUNT=-1", "TEST_RATE=fast", "TEST_API_KEY=hunter2"})
	want := []string{
		`TEST_API_KEY is not readable; want a whole number`,
		`TEST_COUNT is -1; want 0 or more`,
		`TEST_MODE: "maybe" is neither on nor off`,
		`TEST_RATE is "fast"; want a number`,
		`TEST_TABLE is not set`,
		`TEST_WAIT is "5 minutes"; want a duration such as 90s, 5m or 2h`,
	}
	if got := fmt.Sprint(err); got != strings.Join(want, "\n") {
		t.Errorf("the error is\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
	if !errors.Is(err, err) || strings.Contains(err.Error(), "hunter2") {
		t.Error("the error quotes a secret")
	}
}
