package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"time"
)

// ask goes through what net/http can do as a client and ends with the first thing that is not as it should be.
func ask(base string) {
	client := &http.Client{Timeout: 30 * time.Second}

	// Keep-alive: the second request rides the first one's connection.
	reused := false
	for range 2 {
		request, _ := http.NewRequest("GET", base+"/", nil)
		trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { reused = info.Reused }}
		expect(client, request.WithContext(httptrace.WithClientTrace(request.Context(), trace)), 200, "hello\n")
	}
	check(reused, "the connection was not used again")

	// Large bodies both ways, with a length and chunked.
	body := pattern(3 << 20)
	hash := sha256.Sum256(body)
	for _, reader := range []io.Reader{bytes.NewReader(body), struct{ io.Reader }{bytes.NewReader(body)}} {
		request, _ := http.NewRequest("POST", base+"/sha", reader)
		var told struct {
			Length int
			Sha256 string
		}
		check(json.Unmarshal([]byte(do(client, request, 200)), &told) == nil, "no JSON")
		check(told.Length == len(body) && told.Sha256 == hex.EncodeToString(hash[:]), "the body arrived as another")
	}
	request, _ := http.NewRequest("GET", base+"/bytes/3145728", nil)
	check(do(client, request, 200) == string(body), "the answer is not what was asked for")

	// Expect: 100-continue, granted and refused.
	expecting := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{ExpectContinueTimeout: 10 * time.Second}}
	continued := false
	request, _ = http.NewRequest("POST", base+"/echo", strings.NewReader("after 100"))
	request.Header.Set("Expect", "100-continue")
	trace := &httptrace.ClientTrace{Got100Continue: func() { continued = true }}
	expect(expecting, request.WithContext(httptrace.WithClientTrace(request.Context(), trace)), 200, "after 100")
	check(continued, "no 100 came")
	request, _ = http.NewRequest("POST", base+"/refuse", bytes.NewReader(body))
	request.Header.Set("Expect", "100-continue")
	expect(expecting, request, 413, "too much\n")

	// HEAD, 304, 204, an error, compression asked for, a trailer, a stream whose first event comes before its end.
	request, _ = http.NewRequest("HEAD", base+"/bytes/1000", nil)
	expect(client, request, 200, "")
	request, _ = http.NewRequest("GET", base+"/etag", nil)
	request.Header.Set("If-None-Match", `"v1"`)
	expect(client, request, 304, "")
	request, _ = http.NewRequest("GET", base+"/status/204", nil)
	expect(client, request, 204, "")
	request, _ = http.NewRequest("GET", base+"/status/503", nil)
	expect(client, request, 503, "status 503\n")
	response, err := client.Get(base + "/trailers")
	check(err == nil, err)
	io.ReadAll(response.Body)
	check(response.Trailer.Get("X-Checksum") == "abc", "the trailer is missing")
	response, err = client.Get(base + "/events/1")
	check(err == nil, err)
	line, err := bufio.NewReader(response.Body).ReadString('\n')
	check(err == nil && line == "data: 0\n", line)
	response.Body.Close()
	fmt.Println("all well")
}

func do(client *http.Client, request *http.Request, status int) string {
	response, err := client.Do(request)
	check(err == nil, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	check(err == nil, err)
	check(response.StatusCode == status, fmt.Sprintf("%s %s: %d, not %d: %.300s", request.Method, request.URL, response.StatusCode, status, body))
	return string(body)
}

func expect(client *http.Client, request *http.Request, status int, body string) {
	got := do(client, request, status)
	check(got == body, fmt.Sprintf("%s %s: %.300q", request.Method, request.URL, got))
}

func check(isTrue bool, why any) {
	if !isTrue {
		fail(why)
	}
}
