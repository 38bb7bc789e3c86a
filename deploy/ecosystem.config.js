// PM2: `pm2 start deploy/ecosystem.config.js`. One process, pbx-system, which runs the web pages and the SIP process
// and starts again what ends.
const path = require("path");

module.exports = {
  apps: [
    {
      name: "pbx-system",
      cwd: path.resolve(__dirname, ".."),
      script: "manage.py",
      args: "start",
      interpreter: process.env.PBX_PYTHON || "python3",
      autorestart: true,
      restart_delay: 2000,
      // `start` ends everything within 5 s; PM2 must not kill it before.
      kill_timeout: 8000,
      // Several at once would fight for the port.
      instances: 1,
      exec_mode: "fork",
    },
  ],
};
