import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.concurrent.Executors;
import java.util.stream.Collectors;

/** The peers' app on the JDK's HttpServer. */
public class Server {
	public static void main(String[] args) throws Exception {
		HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 0);
		server.setExecutor(Executors.newCachedThreadPool());
		server.createContext("/", Server::handle);
		server.start();
		System.out.println("listening on 127.0.0.1:" + server.getAddress().getPort());
	}

	static byte[] pattern(int n) {
		byte[] bytes = new byte[n];
		for (int i = 0; i < n; i++) bytes[i] = (byte) (i % 251);
		return bytes;
	}

	static void handle(HttpExchange exchange) throws IOException {
		String path = exchange.getRequestURI().getPath();
		String last = path.substring(path.lastIndexOf('/') + 1);
		try (exchange) {
			if (path.equals("/")) {
				answer(exchange, 200, "hello\n");
			} else if (path.equals("/echo")) {
				answer(exchange, 200, exchange.getRequestBody().readAllBytes());
			} else if (path.equals("/sha")) {
				MessageDigest digest = MessageDigest.getInstance("SHA-256");
				long length = 0;
				byte[] buffer = new byte[65536];
				InputStream in = exchange.getRequestBody();
				for (int n; (n = in.read(buffer)) > 0; length += n) digest.update(buffer, 0, n);
				answer(exchange, 200, "{\"length\":" + length + ",\"sha256\":\"" + HexFormat.of().formatHex(digest.digest()) + "\"}");
			} else if (path.startsWith("/bytes/")) {
				answer(exchange, 200, pattern(Integer.parseInt(last)));
			} else if (path.startsWith("/stream/")) {
				exchange.sendResponseHeaders(200, 0); // 0: chunked
				OutputStream out = exchange.getResponseBody();
				for (int i = 0; i < Integer.parseInt(last); i++) {
					out.write(("line " + i + "\n").getBytes());
					out.flush();
				}
			} else if (path.startsWith("/events/")) {
				exchange.getResponseHeaders().set("content-type", "text/event-stream");
				exchange.sendResponseHeaders(200, 0);
				OutputStream out = exchange.getResponseBody();
				for (int i = 0; i < Integer.parseInt(last); i++) out.write(("data: " + i + "\n\n").getBytes());
				out.flush();
				for (int i = 0; i < 50; i++) { // until the client goes, which a write notices
					Thread.sleep(100);
					out.write(":\n\n".getBytes());
					out.flush();
				}
			} else if (path.startsWith("/status/")) {
				int code = Integer.parseInt(last);
				if (code == 204 || code == 304) exchange.sendResponseHeaders(code, -1);
				else answer(exchange, code, "status " + code + "\n");
			} else if (path.equals("/etag")) {
				exchange.getResponseHeaders().set("etag", "\"v1\"");
				if ("\"v1\"".equals(exchange.getRequestHeaders().getFirst("if-none-match"))) exchange.sendResponseHeaders(304, -1);
				else answer(exchange, 200, "version 1\n");
			} else if (path.equals("/refuse")) {
				answer(exchange, 413, "too much\n");
			} else if (path.equals("/who")) {
				String headers = exchange.getRequestHeaders().entrySet().stream()
					.map((field) -> quote(field.getKey().toLowerCase()) + ":" + quote(String.join(", ", field.getValue())))
					.collect(Collectors.joining(","));
				answer(exchange, 200, "{\"peer\":" + quote(exchange.getRemoteAddress().getAddress().getHostAddress()) + ",\"headers\":{" + headers + "}}");
			} else if (path.equals("/admin")) {
				boolean isLocal = exchange.getRemoteAddress().getAddress().isLoopbackAddress();
				answer(exchange, isLocal ? 200 : 403, isLocal ? "admin\n" : "from outside\n");
			} else {
				answer(exchange, 404, "nothing here\n");
			}
		} catch (IOException gone) {
			// The client has left.
		} catch (Exception error) {
			throw new IOException(error);
		}
	}

	static String quote(String text) {
		return '"' + text.replace("\\", "\\\\").replace("\"", "\\\"") + '"';
	}

	static void answer(HttpExchange exchange, int status, String body) throws IOException {
		answer(exchange, status, body.getBytes(StandardCharsets.UTF_8));
	}

	static void answer(HttpExchange exchange, int status, byte[] body) throws IOException {
		if (exchange.getRequestMethod().equals("HEAD")) {
			exchange.getResponseHeaders().set("content-length", String.valueOf(body.length));
			exchange.sendResponseHeaders(status, -1);
			return;
		}
		exchange.sendResponseHeaders(status, body.length == 0 ? -1 : body.length);
		if (body.length > 0) exchange.getResponseBody().write(body);
	}
}
