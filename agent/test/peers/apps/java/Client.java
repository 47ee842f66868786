import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.Arrays;
import java.util.HexFormat;

/** What the JDK's HttpClient does with the peers' app. Ends with the first thing that is not as it should be. */
public class Client {
	static String base;
	static HttpClient client;

	public static void main(String[] args) throws Exception {
		base = args[0];
		// As it comes the client asks for h2c in its first request (RFC 7540 §3.2): that must be answered in HTTP/1.1.
		for (HttpClient.Version version : new HttpClient.Version[] {HttpClient.Version.HTTP_2, HttpClient.Version.HTTP_1_1}) {
			client = HttpClient.newBuilder().version(version).connectTimeout(Duration.ofSeconds(10)).build();
			for (int i = 0; i < 3; i++) expect(request("/").build(), 200, "hello\n");
			byte[] body = new byte[3 << 20];
			for (int i = 0; i < body.length; i++) body[i] = (byte) (i % 251);
			String sha = HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(body));
			expect(request("/sha").POST(BodyPublishers.ofByteArray(body)).build(), 200, null, sha);
			expect(request("/sha").POST(BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(body))).build(), 200, null, sha);
			expect(request("/echo").POST(BodyPublishers.ofString("expected")).expectContinue(true).build(), 200, "expected");
			HttpResponse<byte[]> large = client.send(request("/bytes/" + body.length).build(), BodyHandlers.ofByteArray());
			check(Arrays.equals(large.body(), body), "the answer is not what was asked for");
			HttpResponse<String> head = client.send(request("/bytes/1000").method("HEAD", BodyPublishers.noBody()).build(), BodyHandlers.ofString());
			check(head.headers().firstValue("content-length").orElse("").equals("1000"), "HEAD has lost its length");
			expect(request("/etag").header("if-none-match", "\"v1\"").build(), 304, "");
			expect(request("/status/503").build(), 503, "status 503\n");
			HttpResponse<InputStream> events = client.send(request("/events/1").build(), BodyHandlers.ofInputStream());
			try (BufferedReader lines = new BufferedReader(new InputStreamReader(events.body()))) {
				check("data: 0".equals(lines.readLine()), "no event");
			}
		}
		System.out.println("all well");
		System.exit(0);
	}

	static HttpRequest.Builder request(String path) {
		return HttpRequest.newBuilder(URI.create(base + path)).timeout(Duration.ofSeconds(20));
	}

	static void expect(HttpRequest request, int status, String body, String... parts) throws Exception {
		HttpResponse<String> response = client.send(request, BodyHandlers.ofString());
		check(response.statusCode() == status, request + " " + response.statusCode() + ": " + response.body());
		check(response.version() == HttpClient.Version.HTTP_1_1, "not HTTP/1.1");
		if (body != null) check(response.body().equals(body), request + ": " + response.body());
		for (String part : parts) check(response.body().contains(part), request + ": " + response.body());
	}

	static void check(boolean isTrue, String why) {
		if (isTrue) return;
		System.err.println(why);
		System.exit(1);
	}
}
