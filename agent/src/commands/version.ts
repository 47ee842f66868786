import { BUILD_INFO } from "../foundation/build-info.ts";
import { type Command, EXIT } from "./command.ts";
import { outputOption, wantsJson, writeJson } from "./output.ts";

export const versionCommand: Command = {
	name: "version",
	summary: "show the version",
	usage: "version [-o table|json]",
	options: outputOption,
	run: async (args, { stdout }) => {
		if (wantsJson(args)) writeJson(stdout, BUILD_INFO);
		else
			stdout.write(`outrigger ${BUILD_INFO.version} (revision ${BUILD_INFO.revision}, Node.js ${BUILD_INFO.node})\n`);
		return EXIT.done;
	},
};
